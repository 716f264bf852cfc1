import {
  addQdisc,
  findLink,
  listQdiscs,
  type NetlinkSocket,
  removeQdisc,
  TC_H_INGRESS,
  TC_H_ROOT,
} from '@heddle/netlink';

/** The handle of an mq that Heddle adds; the default one has none, so its queues can't be named. */
const mqHandle = 0x10000;

function findDevice(socket: NetlinkSocket, device: string): number {
  const link = findLink(socket, device);
  if (!link) throw new Error(`find network interface ${device}: there is none`);
  return link.index;
}

/** Returns the queueing discipline of an interface and those of its queues. Throws NetlinkError. */
function disciplines(socket: NetlinkSocket, index: number) {
  const all = listQdiscs(socket, index).filter(({ parent }) => parent !== TC_H_INGRESS);
  const root = all.find(({ parent }) => parent === TC_H_ROOT);
  return { root, leaves: all.filter((qdisc) => qdisc !== root) };
}

/**
 * Returns `fq` if packets leave the interface through fq, `default (KIND)` if the kernel has chosen the
 * discipline, else the kind that was set. Throws NetlinkError.
 */
export function readQdisc(socket: NetlinkSocket, device: string): string {
  const { root, leaves } = disciplines(socket, findDevice(socket, device));
  if (!root) return 'default (noqueue)';
  if (root.kind === 'fq') return 'fq';
  const isFair = leaves.length > 0 && leaves.every(({ kind }) => kind === 'fq');
  if (root.kind === 'mq' && isFair) return 'fq';
  return root.handle === 0 ? `default (${root.kind})` : root.kind;
}

/** Sets `fq`, at each queue of an interface with several, or `default`. Throws NetlinkError. */
export function writeQdisc(socket: NetlinkSocket, device: string, value: string): void {
  const link = findDevice(socket, device);
  const { root, leaves } = disciplines(socket, link);
  if (value !== 'fq') {
    if (root && root.handle !== 0) removeQdisc(socket, { link, kind: root.kind });
    return;
  }
  if (root?.kind !== 'mq') {
    addQdisc(socket, { link, kind: 'fq' });
    return;
  }
  addQdisc(socket, { link, kind: 'mq', handle: mqHandle });
  leaves.forEach((_, i) => {
    addQdisc(socket, { link, kind: 'fq', parent: mqHandle | (i + 1) });
  });
}
