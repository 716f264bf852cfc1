/** The distribution of connections over the backends that take new ones. */
export interface Distribution {
  readonly connections: number;
  readonly backends: number;
  readonly least: number;
  readonly most: number;
  readonly mean: number;
  readonly deviation: number;
  /** The share of the most loaded backend, as a multiple of its fair share. */
  readonly mostOverFair: number;
  /** Pearson's chi-squared against shares by weight. */
  readonly chiSquared: number;
  readonly degreesOfFreedom: number;
}

/**
 * Returns the distribution, or undefined without backends. `weights` has the backends that should
 * get connections, `counts` the number that each got.
 */
export function distributionOf(
  counts: ReadonlyMap<string, number>,
  weights: ReadonlyMap<string, number>,
): Distribution | undefined {
  const names = new Set([...weights.keys(), ...counts.keys()]);
  if (names.size === 0) return undefined;
  const values = [...names].map((name) => counts.get(name) ?? 0);
  const connections = values.reduce((sum, value) => sum + value, 0);
  const mean = connections / values.length;
  const all = [...weights.values()].reduce((sum, weight) => sum + weight, 0);
  let [chiSquared, mostOverFair] = [0, 0];
  for (const [name, weight] of weights) {
    const fair = (connections * weight) / all;
    const found = counts.get(name) ?? 0;
    if (fair === 0) continue;
    chiSquared += (found - fair) ** 2 / fair;
    mostOverFair = Math.max(mostOverFair, found / fair);
  }
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return {
    ...{ connections, backends: values.length },
    least: values.reduce((a, b) => Math.min(a, b)),
    most: values.reduce((a, b) => Math.max(a, b)),
    mean: rounded(mean),
    deviation: rounded(Math.sqrt(squares / values.length)),
    mostOverFair: rounded(mostOverFair),
    chiSquared: rounded(chiSquared),
    degreesOfFreedom: Math.max(0, weights.size - 1),
  };
}

/** The effect of a step on the open connections. */
export interface Disruption {
  readonly open: number;
  /** Connections that still have the same backend. */
  readonly kept: number;
  /** Connections that have another backend without a reset. */
  readonly moved: number;
  /** Connections that broke; each is connected again from the same address and port ... */
  readonly reset: number;
  /** ... to the same backend, to another one, or to none. */
  readonly resetToSame: number;
  readonly resetToOther: number;
  readonly resetToNone: number;
  /** The share of open connections that changed backend or were reset. */
  readonly share: number;
  /**
   * Connections whose backend was gone, and those whose backend existed but whose node with the
   * connection's state was gone.
   */
  readonly backendGone: number;
  readonly pathGone: number;
  /** The share that has another backend now, or none. */
  readonly changedShare: number;
  /** The share whose backend is gone: no load balancer can keep these. */
  readonly idealShare: number;
  /** The share whose backend exists, but whose node with the connection's state is gone. */
  readonly pathGoneShare: number;
  /** Clients that failed with their node; not counted elsewhere. */
  readonly clientsGone: number;
}

export type DisruptionCounts = Omit<
  Disruption,
  'share' | 'changedShare' | 'idealShare' | 'pathGoneShare'
>;

export function disruptionOf(counts: DisruptionCounts): Disruption {
  const { open, moved, reset, resetToOther, resetToNone, backendGone, pathGone } = counts;
  const share = (count: number) => (open === 0 ? 0 : rounded(count / open));
  return {
    ...counts,
    share: share(moved + reset),
    changedShare: share(moved + resetToOther + resetToNone),
    idealShare: share(backendGone),
    pathGoneShare: share(pathGone),
  };
}

/** Returns the sum, or undefined for an empty list. */
export function sumDisruptions(all: readonly Disruption[]): Disruption | undefined {
  if (all.length === 0) return undefined;
  const sum = (pick: (each: Disruption) => number) =>
    all.reduce((total, each) => total + pick(each), 0);
  return disruptionOf({
    ...{ open: sum((d) => d.open), kept: sum((d) => d.kept), moved: sum((d) => d.moved) },
    ...{ reset: sum((d) => d.reset), resetToSame: sum((d) => d.resetToSame) },
    ...{ resetToOther: sum((d) => d.resetToOther), resetToNone: sum((d) => d.resetToNone) },
    clientsGone: sum((d) => d.clientsGone),
    backendGone: sum((d) => d.backendGone),
    pathGone: sum((d) => d.pathGone),
  });
}

/** Rounds to 6 digits, so that equal results have equal texts. */
export function rounded(value: number): number {
  return Number(value.toPrecision(6));
}
