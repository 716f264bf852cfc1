/** The number of changes of the marker (service 0), each with another number of endpoints. */
export const markerMs = 100;
export const markerEndpoints = 20;

/** A moment, and how many endpoints the marker had then: at the API server or in the kernel. */
export interface Sighting {
  /** Nanoseconds of CLOCK_MONOTONIC. */
  readonly atNs: number;
  readonly endpoints: number;
}

/**
 * Milliseconds from each change of the marker that was seen programmed until it was seen. Several
 * changes may have become one, so that some are never seen: the number of endpoints, which goes
 * round, identifies the change. `seen` has no two neighbours alike; what was programmed before the
 * first change comes first.
 */
export function lags(changes: readonly Sighting[], seen: readonly Sighting[]): number[] {
  const found: number[] = [];
  let next = 0;
  for (const { atNs, endpoints } of seen.slice(1)) {
    const at = changes.findIndex((change, i) => i >= next && change.endpoints === endpoints);
    if (at < 0) throw new Error(`match sightings: no change set ${endpoints} endpoints`);
    found.push((atNs - changes[at]!.atNs) / 1e6);
    next = at + 1;
  }
  return found;
}
