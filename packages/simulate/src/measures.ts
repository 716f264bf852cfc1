/** How evenly connections are spread over the backends that take new ones. */
export interface Distribution {
  readonly connections: number;
  readonly backends: number;
  readonly least: number;
  readonly most: number;
  readonly mean: number;
  readonly deviation: number;
  /** The most loaded backend's share, as a multiple of what it should have. */
  readonly mostOverFair: number;
  /** Pearson's, against shares by weight, with its degrees of freedom. */
  readonly chiSquared: number;
  readonly degreesOfFreedom: number;
}

/** `weights` by backend: those that should get connections; `counts` what each got. */
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

/** The effect of a change on the connections that were open. */
export interface Disruption {
  readonly open: number;
  /** Connections with the same backend and without a reset. */
  readonly kept: number;
  /** Connections that reach another backend without a reset. */
  readonly moved: number;
  /** Connections that were reset, and connected again from the same address and port ... */
  readonly reset: number;
  /** ... to the same backend, to another one, and to none. */
  readonly resetToSame: number;
  readonly resetToOther: number;
  readonly resetToNone: number;
  /** Share of the open ones that changed backend or were reset. */
  readonly share: number;
  /** Their backend was gone; or it was there, but the node that knew the connection was gone. */
  readonly backendGone: number;
  readonly pathGone: number;
  /** Share that now has another backend, or none. */
  readonly changedShare: number;
  /** Share whose backend is gone: every balancer breaks them. */
  readonly idealShare: number;
  /** Share whose backend is there, but the node that knew the connection is gone. */
  readonly pathGoneShare: number;
  /** Clients that went with their node; counted nowhere else. */
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

/** All together; undefined: there were none. */
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

/** To 6 digits, so that the same figure always has the same text. */
export function rounded(value: number): number {
  return Number(value.toPrecision(6));
}
