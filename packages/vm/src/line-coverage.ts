import type { Observer } from './machine.ts';
import type { Program } from './program.ts';

/** How often a source line ran. */
export interface LineCount {
  /** As the object's line information has it. */
  readonly file: string;
  readonly line: number;
  readonly count: number;
}

/**
 * Counts which lines of the programs' source ran. `observe` is for `Machine.observer`; several
 * machines can share one.
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

  /** The lines that ran, each as often as the most frequent of its instructions in a program. */
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
