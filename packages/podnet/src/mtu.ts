import { changeLink, findLink, type NetlinkSocket, type NetworkLink } from '@heddle/netlink';
import type { Platform } from '@heddle/sys';
import { namespaceIdOf, namespacePaths, tryOpenNamespace } from './namespace-paths.ts';

/**
 * Sets the MTU of existing pods' interfaces, of both ends. `links` are the node's ends, in whose
 * namespace the calling thread and `node` are. Returns the names of those whose other end cannot be
 * found or changed: no mount and no process leads to its namespace. A smaller MTU comes to the pods'
 * ends first, so that no end sends what the other one drops. Throws NetlinkError, SysError.
 */
export function changeMtu(
  platform: Platform,
  node: NetlinkSocket,
  links: readonly NetworkLink[],
  mtu: number,
): string[] {
  const waiting = new Set(links);
  const larger = links.filter((link) => link.mtu < mtu);
  for (const link of larger) changeIfThere(node, link.index, mtu);
  for (const path of namespacePaths(platform)) {
    if (waiting.size === 0) break;
    using namespace = tryOpenNamespace(platform, path);
    const id = namespace && namespaceIdOf(node, namespace);
    if (!namespace || id === undefined) continue;
    for (const link of waiting) {
      if (link.peerNamespaceId !== id || link.peer === undefined) continue;
      using inside = node.openIn(namespace.fd);
      changeIfThere(inside, link.peer, mtu);
      waiting.delete(link);
    }
  }
  for (const link of links) if (!larger.includes(link)) changeIfThere(node, link.index, mtu);
  return Array.from(waiting, ({ name }) => name);
}

function changeIfThere(socket: NetlinkSocket, index: number, mtu: number): void {
  if (findLink(socket, index)) changeLink(socket, index, { mtu });
}
