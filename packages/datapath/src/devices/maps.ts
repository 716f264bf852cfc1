import { described, type MapDescription, undescribed, wordCodec } from '../core/map-description.ts';
import { interfaceRole } from '../generated/abi.ts';

/** The maps of network interfaces in the catalog. */
export const deviceMaps = {
  node_devices: described(
    'roles of network interfaces by index',
    'agent',
    { key: wordCodec, value: wordCodec, isOfNode: true },
    ({ key, value }, { networkInterface }) => {
      const name = networkInterface(key);
      if (value === undefined) return `${name} is neither external nor one of pods`;
      return value === interfaceRole.external
        ? `${name} is an external interface`
        : `${name} leads to pods`;
    },
  ),
  xdp_devices: undescribed('link-layer addresses of network interfaces by index', 'agent', {
    isOfNode: true,
  }),
} satisfies Record<string, MapDescription>;

/** Returns the indexes of the external interfaces among elements of the map `node_devices`. */
export function externalInterfaces(
  elements: Iterable<readonly [key: Uint8Array, value: Uint8Array]>,
): Set<number> {
  const found = new Set<number>();
  for (const [key, value] of elements) {
    if ((wordCodec.decode(value) & interfaceRole.external) !== 0) found.add(wordCodec.decode(key));
  }
  return found;
}
