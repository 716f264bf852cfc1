import { findLink, listQdiscs, NetlinkSocket, TC_H_INGRESS, TC_H_ROOT } from '@heddle/netlink';
import type { Platform } from '@heddle/sys';

/** Returns the names of those network interfaces that packets leave without fq. Throws SysError, NetlinkError. */
export function withoutFq(platform: Platform, names: readonly string[]): string[] {
  using socket = new NetlinkSocket(platform);
  return names.filter((name) => {
    const link = findLink(socket, name);
    if (!link) return false;
    const qdiscs = listQdiscs(socket, link.index).filter(({ parent }) => parent !== TC_H_INGRESS);
    // An interface with several queues has one for each below its root.
    const leaves = qdiscs.filter(({ parent }) => parent !== TC_H_ROOT);
    const used = leaves.length > 0 ? leaves : qdiscs;
    return used.length === 0 || used.some(({ kind }) => kind !== 'fq');
  });
}
