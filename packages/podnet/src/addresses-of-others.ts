import {
  listAddresses,
  listLinks,
  listRoutes,
  type NetlinkSocket,
  type NetworkLink,
} from '@heddle/netlink';
import type { Platform } from '@heddle/sys';
import { namespaceIdOf, namespacePaths, tryOpenNamespace } from './namespace-paths.ts';

/** A route to one address. */
const hostRoute = /^(.*)\/(?:32|128)$/;

/**
 * Returns the addresses that others on this node have: the node itself, what a route to a single address leads to, and
 * the network namespaces at the other ends of the node's links, such as those of pods that another network has
 * connected. Links for which `isOwn` returns true, and what is behind them, are left out. The calling thread and
 * `node` are in the node's namespace. Throws NetlinkError, SysError.
 */
export function addressesOfOthers(
  platform: Platform,
  node: NetlinkSocket,
  isOwn: (link: NetworkLink) => boolean,
): Set<string> {
  const [own, others] = [new Set<number>(), new Set<number>()];
  for (const link of listLinks(node)) {
    if (isOwn(link)) own.add(link.index);
    else if (link.peerNamespaceId !== undefined) others.add(link.peerNamespaceId);
  }
  const found = new Set<string>();
  for (const { link, address } of listAddresses(node)) if (!own.has(link)) found.add(address);
  for (const { link, destination } of listRoutes(node)) {
    const address = hostRoute.exec(destination)?.[1];
    if (address !== undefined && link !== undefined && !own.has(link)) found.add(address);
  }
  for (const path of others.size === 0 ? [] : namespacePaths(platform)) {
    using namespace = tryOpenNamespace(platform, path);
    const id = namespace && namespaceIdOf(node, namespace);
    if (!namespace || id === undefined || !others.delete(id)) continue;
    using inside = node.openIn(namespace.fd);
    for (const { address } of listAddresses(inside)) found.add(address);
    if (others.size === 0) break;
  }
  return found;
}
