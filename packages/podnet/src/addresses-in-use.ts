import { listAddresses, listRoutes, NetlinkSocket, NetworkNamespace } from '@heddle/netlink';
import { type Platform, SysError } from '@heddle/sys';
import { namespacePaths, tryOpenNamespace } from './namespace-paths.ts';

/** A route to one address. */
const hostRoute = /^(.*)\/(?:32|128)$/;

/**
 * Returns the addresses that something on this node has: the node itself, what a route to a single address leads to,
 * and the network namespaces that mounts and processes lead to, such as those of pods that another network has
 * connected. The calling thread and `node` are in the node's namespace. Throws NetlinkError, SysError.
 */
export function addressesInUse(platform: Platform, node: NetlinkSocket): Set<string> {
  const used = new Set(listAddresses(node).map(({ address }) => address));
  for (const { destination } of listRoutes(node)) {
    const address = hostRoute.exec(destination)?.[1];
    if (address !== undefined) used.add(address);
  }
  using own = NetworkNamespace.current(platform);
  const seen = new Set([own.inode]);
  for (const path of namespacePaths(platform)) {
    using namespace = tryOpenNamespace(platform, path);
    if (!namespace || seen.has(namespace.inode)) continue;
    seen.add(namespace.inode);
    for (const address of addressesOf(platform, namespace)) used.add(address);
  }
  return used;
}

/** Returns the addresses in a namespace; none if it is no network namespace. */
function addressesOf(platform: Platform, namespace: NetworkNamespace): string[] {
  try {
    using inside = namespace.enter(() => new NetlinkSocket(platform));
    return listAddresses(inside).map(({ address }) => address);
  } catch (error) {
    // A plain file, or a namespace of another kind.
    if (error instanceof SysError && error.code === 'EINVAL') return [];
    throw error;
  }
}
