import type { MapAnswer, MapDelta, MapLinks } from '../contract.ts';

/** Returns true for a whole map. */
export function isWholeMap(event: MapAnswer | MapDelta): event is MapAnswer {
  return 'workloads' in event;
}

/**
 * Returns a map with the changed values of a delta, or undefined if the delta is for another map, so that a
 * whole one has to be asked for.
 */
export function applyDelta(map: MapAnswer | undefined, delta: MapDelta): MapAnswer | undefined {
  if (map?.seq !== delta.base) return undefined;
  const columns = [
    ...(['forwarded', 'dropped', 'refused', 'audit'] as const),
    ...(['bytesOut', 'bytesIn', 'last'] as const),
  ];
  const links: MapLinks = { ...map.links };
  const changed = Object.fromEntries(
    columns
      .filter((column) => delta[column] !== undefined)
      .map((column) => [column, withChanges(links[column], delta.link, delta[column]!)]),
  );
  const { seq, from, to } = delta;
  return { ...map, seq, from, to, links: { ...links, ...changed } };
}

function withChanges(
  column: readonly number[],
  places: readonly number[],
  values: readonly number[],
): number[] {
  const changed = [...column];
  for (const [index, place] of places.entries()) {
    if (place < changed.length) changed[place] = values[index] ?? 0;
  }
  return changed;
}
