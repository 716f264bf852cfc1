import { changeLink, findLink, type NetlinkSocket, type NetworkLink } from '@heddle/netlink';
import type { Platform } from '@heddle/sys';
import { visitPeers } from './peers.ts';

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
  const larger = links.filter((link) => link.mtu < mtu);
  for (const link of larger) changeIfThere(node, link.index, mtu);
  const hidden = visitPeers(platform, node, links, (_, peer, inside) =>
    changeIfThere(inside, peer, mtu),
  );
  for (const link of links) if (!larger.includes(link)) changeIfThere(node, link.index, mtu);
  return hidden.map(({ name }) => name);
}

function changeIfThere(socket: NetlinkSocket, index: number, mtu: number): void {
  if (findLink(socket, index)) changeLink(socket, index, { mtu });
}
