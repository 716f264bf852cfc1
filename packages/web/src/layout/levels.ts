/** A link between two names with its weight. */
export interface WeightedLink {
  readonly from: string;
  readonly to: string;
  readonly weight: number;
}

/** The weight of a link by its rate per second: a hundred times the rate counts a few times as much. */
export function linkWeight(rate: number): number {
  return 1 + Math.log2(1 + rate);
}

const rounds = 60;

/**
 * Returns the trophic level of each name: one above the weighted mean of its callers, as near as cycles allow
 * (MacKay, Johnson, Sansom: How directed is a directed network?, 2020). Gauss-Seidel solves it; no cycle is cut.
 */
export function trophicLevels(
  names: readonly string[],
  links: readonly WeightedLink[],
): ReadonlyMap<string, number> {
  const indexOf = new Map(names.map((name, index) => [name, index]));
  const neighbours = names.map((): [number, number][] => []);
  const imbalance = new Float64Array(names.length);
  const weights = new Float64Array(names.length);
  for (const { from, to, weight } of links) {
    const caller = indexOf.get(from);
    const called = indexOf.get(to);
    if (caller === undefined || called === undefined || caller === called) continue;
    neighbours[caller]!.push([called, weight]);
    neighbours[called]!.push([caller, weight]);
    imbalance[caller]! -= weight;
    imbalance[called]! += weight;
    weights[caller]! += weight;
    weights[called]! += weight;
  }
  const level = new Float64Array(names.length);
  for (let round = 0; round < rounds; round++) {
    for (let index = 0; index < names.length; index++) {
      if (weights[index] === 0) continue;
      let sum = imbalance[index]!;
      for (const [neighbour, weight] of neighbours[index]!) sum += weight * level[neighbour]!;
      level[index] = sum / weights[index]!;
    }
  }
  return new Map(names.map((name, index) => [name, level[index]!]));
}

/** Returns names in the order of their levels, and by name where levels are equal. */
export function sortByLevel(
  names: readonly string[],
  levels: ReadonlyMap<string, number>,
): string[] {
  const level = (name: string) => levels.get(name) ?? 0;
  return [...names].sort((one, other) => level(one) - level(other) || (one < other ? -1 : 1));
}
