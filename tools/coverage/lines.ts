/** How often each line that the objects have code for ran, by file and line. */
export type Lines = ReadonlyMap<string, ReadonlyMap<number, number>>;

/** Why a line of `bpf/` is not covered; found again by its function and its text. */
export interface Reason {
  readonly file: string;
  /** The function that the line is in. */
  readonly function: string;
  /** The line without the space around it. */
  readonly line: string;
  readonly reason: string;
}

/** A line that no test ran. */
export interface Uncovered {
  readonly file: string;
  readonly number: number;
  readonly function: string;
  readonly line: string;
  /** Absent: nobody has said why. */
  readonly reason?: string;
}

/**
 * The lines that no test ran, with their reasons, and the reasons that no such line has (any more).
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
 * Name of the function that a line is in, as the project writes C: a function's brace and its end are
 * the only ones at the start of a line. Empty outside of functions, as in a macro.
 */
export function functionOf(source: readonly string[], number: number): string {
  let at = number - 1;
  for (; at >= 0 && source[at] !== '{'; at--) {
    if (/^[};]/.test(source[at]!) && at < number - 1) return '';
  }
  // The head may take several lines, of which the first begins at the start of one.
  for (at--; at >= 0 && /^\s/.test(source[at]!); at--);
  const head = source[at] ?? '';
  return /(\w+)\((?!")/.exec(head)?.[1] ?? '';
}
