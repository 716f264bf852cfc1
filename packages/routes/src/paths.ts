import { type Family, familyOf } from '@heddle/objects';
import type { RangeMap } from './range-map.ts';
import type { NodePath, Routing, UnderlayRoute } from './rows.ts';

/** The facts about this node that paths depend on. */
export interface PathFacts {
  readonly routing: Routing;
  /** The addresses of this node, at most one of each family. */
  readonly own: readonly string[];
  /** The addresses that this node has in tunnels, at most one of each family. */
  readonly routers: readonly string[];
  /** ifindex of the tunnel device. */
  readonly tunnel: number | undefined;
  readonly routes: RangeMap<UnderlayRoute>;
}

/** The order in which the addresses of another node are tried as the end of a tunnel: IPv4 takes fewer bytes. */
const tunnelFamilies: readonly Family[] = ['IPv4', 'IPv6'];

/**
 * Returns the path to pods with addresses of a family on the node with these addresses, or a sentence
 * that explains why there is none.
 */
export function pathTo(
  family: Family,
  addresses: readonly string[],
  { routing, own, routers, tunnel, routes }: PathFacts,
): NodePath | string {
  // IPv4 routes may have an IPv6 router (RFC 5549), but not the other way round.
  const hops = addresses.filter((each) => familyOf(each) === family || family === 'IPv4');
  const hop = hops
    .sort((a, b) => Number(familyOf(b) === family) - Number(familyOf(a) === family))
    .find((each) => routes.find(each)?.isOnLink);
  if (hop !== undefined && routing !== 'tunnel') {
    const { link, device } = routes.find(hop)!;
    const reason = `${hop} is on the link of ${device}`;
    return { family, mode: 'direct', via: hop, ...(link === undefined ? {} : { link }), reason };
  }
  if (routing === 'native') {
    const reason = 'routing is native, and the node is on no link of this one: the network routes';
    return { family, mode: 'direct', reason };
  }
  const ends = tunnelFamilies
    .map((each) => ({ from: ofFamily(own, each), via: ofFamily(addresses, each) }))
    .find(({ from, via }) => from !== undefined && via !== undefined);
  if (ends?.via === undefined) {
    return `it is reached through a tunnel, and has no address of a family of this node (this node has ${listed(own)}, the other ${listed(addresses)})`;
  }
  const { from, via } = ends;
  const source = ofFamily(routers, family);
  const reason =
    routing === 'tunnel'
      ? 'routing is tunnel'
      : `no ${family} path without a router leads to ${addresses.join(' or ')}`;
  return {
    ...{ family, mode: 'tunnel', via, reason },
    ...(from === undefined ? {} : { from }),
    ...(tunnel === undefined ? {} : { link: tunnel }),
    ...(source === undefined ? {} : { source }),
  };
}

function ofFamily(addresses: readonly string[], family: Family): string | undefined {
  return addresses.find((address) => familyOf(address) === family);
}

function listed(addresses: readonly string[]): string {
  return addresses.join(' and ') || 'none';
}
