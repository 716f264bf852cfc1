/** Returns the candidate that differs least from a text, or undefined if none is near. Case does not count. */
export function nearest(text: string, candidates: Iterable<string>): string | undefined {
  const wanted = text.toLowerCase().slice(0, 64);
  let [best, least] = [
    undefined as string | undefined,
    Math.max(1, Math.floor(wanted.length / 3)) + 1,
  ];
  for (const candidate of candidates) {
    const distance = editDistance(wanted, candidate.toLowerCase().slice(0, 64));
    if (distance < least) [best, least] = [candidate, distance];
  }
  return best;
}

/** Returns the number of insertions, deletions, replacements and swaps of neighbours that make one text the other. */
export function editDistance(one: string, other: string): number {
  let before: number[] = [];
  let last = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let row = 1; row <= one.length; row++) {
    const current = [row];
    for (let column = 1; column <= other.length; column++) {
      const isSame = one[row - 1] === other[column - 1];
      let cost = Math.min(
        last[column]! + 1,
        current[column - 1]! + 1,
        last[column - 1]! + (isSame ? 0 : 1),
      );
      const isSwap =
        row > 1 &&
        column > 1 &&
        one[row - 1] === other[column - 2] &&
        one[row - 2] === other[column - 1];
      if (isSwap) cost = Math.min(cost, before[column - 2]! + 1);
      current.push(cost);
    }
    [before, last] = [last, current];
  }
  return last[other.length]!;
}
