import type { Observer, Program } from './machine.ts';

/** The number of times that a source line ran. */
export interface LineCount {
  /** The name in the object's line information. */
  readonly file: string;
  readonly line: number;
  readonly count: number;
}

/**
 * Counts the runs of source lines. Set `Machine.observer` to `observe`. Several machines can share it.
 */
export class LineCoverage {
  readonly #counts = new Map<Program, Uint32Array>();
  readonly observe: Observer = (program, slot) => {
    let counts = this.#counts.get(program);
    if (!counts) {
      counts = new Uint32Array(program.code.length / 4);
      this.#counts.set(program, counts);
    }
    counts[slot] = counts[slot]! + 1;
  };

  /** Returns the lines that ran. The count of a line is that of its most frequent instruction. */
  lines(): LineCount[] {
    const all = new Map<string, LineCount>();
    for (const [program, counts] of this.#counts) {
      const own = new Map<string, LineCount>();
      counts.forEach((count, slot) => {
        const source = count > 0 ? program.sourceOf(slot) : undefined;
        if (!source || source.line === 0) return;
        const { file, line } = source;
        const key = `${file}:${line}`;
        if (count > (own.get(key)?.count ?? 0)) own.set(key, { file, line, count });
      });
      for (const [key, { file, line, count }] of own) {
        all.set(key, { file, line, count: (all.get(key)?.count ?? 0) + count });
      }
    }
    return [...all.values()];
  }
}
