import { type Family, familyOf } from '@heddle/objects';
import type { RangeMap } from './range-map.ts';
import type { NodePath, Routing, UnderlayRoute } from './rows.ts';

/** The facts about this node that paths depend on. */
export interface PathFacts {
  readonly routing: Routing;
  /** The families in which this node has an address. */
  readonly families: ReadonlySet<Family>;
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
  { routing, families, routes }: PathFacts,
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
  const end = tunnelFamilies
    .filter((each) => families.has(each))
    .flatMap((each) => addresses.find((address) => familyOf(address) === each) ?? [])[0];
  if (end === undefined) {
    const own = [...families].join(' and ') || 'no';
    return `it is reached through a tunnel, and has no address of a family of this node (${own} addresses here, ${addresses.join(', ')} there)`;
  }
  const reason =
    routing === 'tunnel' ? 'routing is tunnel' : `${end} is on no link of this node for ${family}`;
  return { family, mode: 'tunnel', via: end, reason };
}
