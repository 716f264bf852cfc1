import {
  addProxyNeighbour,
  listAddresses,
  listLinks,
  listProxyNeighbours,
  type NetlinkSocket,
  removeProxyNeighbour,
  Sysctls,
} from '@heddle/netlink';
import { type Cidr, cidrContains, type Platform, parseCidr, parseIp } from '@heddle/sys';

/**
 * A bridge with an address of the node and its range, as other networks make it. The pods on it take the whole range
 * for their link: they look for each address of it by ARP and neighbour discovery.
 */
export interface RangeBridge {
  readonly link: number;
  readonly name: string;
  readonly range: Cidr;
}

/** Returns the bridges with a range, one for each range. Throws NetlinkError. */
export function listRangeBridges(node: NetlinkSocket): RangeBridge[] {
  const bridges = new Map(
    listLinks(node).flatMap(({ kind, index, name }) => (kind === 'bridge' ? [[index, name]] : [])),
  );
  if (bridges.size === 0) return [];
  return listAddresses(node).flatMap(({ link, address, prefixLength, scope }) => {
    const name = bridges.get(link);
    if (name === undefined || scope !== 'universe') return [];
    return [{ link, name, range: parseCidr(`${address}/${prefixLength}`)! }];
  });
}

/**
 * Makes the node answer on the bridges for an address of a pod that is not on them, so that the pods on the bridges
 * reach it through the node. Doing it again is fine. To be called in the network namespace of the socket. Throws
 * NetlinkError, SysError.
 */
export function answerOnBridges(
  platform: Platform,
  node: NetlinkSocket,
  bridges: readonly RangeBridge[],
  address: string,
  sysctlDirectory?: string,
): void {
  const sysctls = new Sysctls(platform, sysctlDirectory);
  for (const { link, name } of withAddress(bridges, address)) {
    const family = address.includes(':') ? 'ipv6' : 'ipv4';
    if (family === 'ipv6') sysctls.write(`ipv6/conf/${name}/proxy_ndp`, 1);
    // Otherwise the kernel lets up to 0.8 s pass, so that the owner of an address could answer first.
    sysctls.write(`${family}/neigh/${name}/proxy_delay`, 0);
    addProxyNeighbour(node, link, address);
  }
}

/** Ends what answerOnBridges does for an address. Throws NetlinkError. */
export function leaveBridges(
  node: NetlinkSocket,
  bridges: readonly RangeBridge[],
  address: string,
): void {
  for (const { link } of withAddress(bridges, address)) removeProxyNeighbour(node, link, address);
}

/**
 * Ends what answerOnBridges does for the addresses for which `isLeft` returns true, such as those of pods that ended
 * while no agent ran. Throws NetlinkError.
 */
export function leaveBridgesWhere(
  node: NetlinkSocket,
  bridges: readonly RangeBridge[],
  isLeft: (address: string) => boolean,
): void {
  for (const link of new Set(bridges.map((bridge) => bridge.link))) {
    for (const address of listProxyNeighbours(node, link)) {
      if (isLeft(address)) removeProxyNeighbour(node, link, address);
    }
  }
}

function withAddress(bridges: readonly RangeBridge[], address: string): readonly RangeBridge[] {
  const bytes = parseIp(address)!;
  return bridges.filter(({ range }) => cidrContains(range, bytes));
}
