import type { EntryAccess, EntryNames, MapDescription } from './core/map-description.ts';
import { deviceMaps } from './devices/maps.ts';
import { eventMaps } from './events/maps.ts';
import { natMaps } from './nat/maps.ts';
import { nodeRouteMaps } from './node-routes/maps.ts';
import { podMaps } from './pods/maps.ts';
import { policyMaps } from './policy/maps.ts';
import { serviceMaps } from './services/maps.ts';
import { socketMaps } from './sockets/maps.ts';

const catalog = {
  ...serviceMaps,
  ...socketMaps,
  ...natMaps,
  ...deviceMaps,
  ...nodeRouteMaps,
  ...podMaps,
  ...policyMaps,
  ...eventMaps,
} satisfies Record<string, MapDescription>;

/** The name of a map of the datapath, of its pin and in its objects. */
export type MapName = keyof typeof catalog;

/** All maps of the datapath: what they hold, who writes them, and what an entry means. */
export const mapCatalog: Readonly<Record<MapName, MapDescription>> = catalog;

/** Returns what an access to a map means, or undefined for mere bookkeeping and for a map outside the catalog. */
export function describeAccess(
  map: string,
  access: EntryAccess,
  names: EntryNames,
): string | undefined {
  return isMapName(map) ? mapCatalog[map].describe(access, names) : undefined;
}

/** Returns true when the catalog has the map. */
export function isMapName(name: string): name is MapName {
  return Object.hasOwn(mapCatalog, name);
}
