import { formatIp, isIpv4 } from '@heddle/sys';
import { described, type MapDescription, undescribed, wordCodec } from '../core/map-description.ts';
import {
  masquerade,
  nodePath,
  type RangeKey,
  rangeKeyCodec,
  remoteNodeCodec,
} from '../generated/abi.ts';

/** The maps of paths to other nodes in the catalog. */
export const nodeRouteMaps = {
  node_ranges: described(
    "other nodes by the ranges of their pods' addresses",
    'agent',
    { key: rangeKeyCodec, value: remoteNodeCodec, isOfNode: true },
    ({ key, value }) => {
      if (!value) return `${formatIp(key.address)} is no pod of another node`;
      const path =
        value.path === nodePath.direct
          ? 'is reached directly'
          : `is reached through a tunnel to ${tunnelEnd(value)}`;
      return `${rangeText(key)} has pods of another node, which ${path}`;
    },
  ),
  tunnel: undescribed("this node's end of tunnels to other nodes", 'agent', { isOfNode: true }),
  no_masquerade: described(
    "destinations that see the addresses of pods, or the node's, by range",
    'agent',
    { key: rangeKeyCodec, value: wordCodec, isOfNode: true },
    ({ key, value }) => {
      if (value === undefined) return undefined;
      const what = value === masquerade.never ? 'the addresses of pods' : 'an address of the node';
      return `${rangeText(key)} sees ${what}`;
    },
  ),
} satisfies Record<string, MapDescription>;

function rangeText({ address, prefixLength }: RangeKey): string {
  const length = isIpv4(address) ? prefixLength - 96 : prefixLength;
  return `${formatIp(address)}/${length}`;
}

function tunnelEnd({ path, ipv4, ipv6 }: ReturnType<typeof remoteNodeCodec.decode>): string {
  if (path === nodePath.tunnelIpv6) return formatIp(ipv6);
  return [24, 16, 8, 0].map((shift) => (ipv4 >>> shift) & 0xff).join('.');
}
