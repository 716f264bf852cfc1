/** The number of runs of each line that the objects have code for, by file and line. */
export type Lines = ReadonlyMap<string, ReadonlyMap<number, number>>;

/**
 * The reason why a line of `bpf/` is not covered. The line is identified by its function and text.
 */
export interface Reason {
  readonly file: string;
  /** The function that the line is in. */
  readonly function: string;
  /** The trimmed text of the line. */
  readonly line: string;
  readonly reason: string;
}

/** A line that no test ran. */
export interface Uncovered {
  readonly file: string;
  readonly number: number;
  readonly function: string;
  readonly line: string;
  /** Absent if no reason is given. */
  readonly reason?: string;
}

/**
 * Returns the lines that no test ran, with their reasons, and the reasons without such a line.
 * `sources` has the lines of each file.
 */
export function judge(
  lines: Lines,
  sources: ReadonlyMap<string, readonly string[]>,
  reasons: readonly Reason[],
): { readonly uncovered: readonly Uncovered[]; readonly stale: readonly Reason[] } {
  const used = new Set<Reason>();
  const uncovered: Uncovered[] = [];
  for (const [file, counts] of [...lines].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const source = sources.get(file)!;
    for (const [number, count] of [...counts].sort(([a], [b]) => a - b)) {
      if (count > 0) continue;
      const line = source[number - 1]!.trim();
      const place = { file, function: functionOf(source, number), line };
      const known = reasons.find(
        (each) =>
          each.file === file && each.function === place.function && each.line === place.line,
      );
      if (known) used.add(known);
      uncovered.push({ ...place, number, ...(known ? { reason: known.reason } : {}) });
    }
  }
  return { uncovered, stale: reasons.filter((each) => !used.has(each)) };
}

/**
 * Returns the name of the function that contains a line. In the project's C style only the braces
 * of functions are at the start of a line. Returns an empty text outside of functions, e.g. in a
 * macro.
 */
export function functionOf(source: readonly string[], number: number): string {
  let at = number - 1;
  for (; at >= 0 && source[at] !== '{'; at--) {
    if (/^[};]/.test(source[at]!) && at < number - 1) return '';
  }
  // The declarator may take several lines, of which only the first is not indented.
  for (at--; at >= 0 && /^\s/.test(source[at]!); at--);
  const head = source[at] ?? '';
  return /(\w+)\((?!")/.exec(head)?.[1] ?? '';
}
