import type { NetlinkSocket, NetworkLink } from '@heddle/netlink';
import type { Platform } from '@heddle/sys';
import { namespaceIdOf, namespacePaths, tryOpenNamespace } from './namespace-paths.ts';

/**
 * Calls `visit` with the other end of each link, by its index, and a socket in its namespace. `links` are the node's
 * ends, in whose namespace the calling thread and `node` are. Returns the links whose other end cannot be found: no
 * mount and no process leads to its namespace. Throws NetlinkError, SysError.
 */
export function visitPeers<Link extends NetworkLink>(
  platform: Platform,
  node: NetlinkSocket,
  links: readonly Link[],
  visit: (link: Link, peer: number, inside: NetlinkSocket) => void,
): Link[] {
  const waiting = new Set(links);
  for (const path of namespacePaths(platform)) {
    if (waiting.size === 0) break;
    using namespace = tryOpenNamespace(platform, path);
    const id = namespace && namespaceIdOf(node, namespace);
    if (!namespace || id === undefined) continue;
    for (const link of waiting) {
      if (link.peerNamespaceId !== id || link.peer === undefined) continue;
      using inside = node.openIn(namespace.fd);
      visit(link, link.peer, inside);
      waiting.delete(link);
    }
  }
  return [...waiting];
}
