import {
  deleteLink,
  listLinks,
  listRoutes,
  NetlinkSocket,
  type NetworkLink,
  removeRoute,
} from '@heddle/netlink';
import {
  leaveBridges,
  listRangeBridges,
  removeTunnelDevice,
  routeProtocol,
  tunnelName,
} from '@heddle/podnet';
import type { Platform } from '@heddle/sys';
import { readLinks } from './attachments.ts';

/** The names of pod interfaces on this node, with the pods that they belong to. */
export interface PodLinks {
  /** A line for each interface, e.g. `hd0123456789abc of default/web`. */
  readonly names: readonly string[];
  /** Removes the interfaces. The kernel takes some 30 ms for each. Throws NetlinkError. */
  remove(): void;
}

/** Returns the pod interfaces in the network namespace of the calling thread. Throws NetlinkError. */
export function findPodLinks(platform: Platform): PodLinks {
  using node = new NetlinkSocket(platform);
  const { attachments, unfinished } = readLinks(listLinks(node));
  const links: Pick<NetworkLink, 'index'>[] = [
    ...attachments.map(({ ifindex }) => ({ index: ifindex })),
    ...unfinished,
  ];
  const names = [
    ...attachments.map(({ name, record }) =>
      record.pod ? `${name} of ${record.pod.namespace}/${record.pod.name}` : name,
    ),
    ...unfinished.map(({ name }) => name),
  ];
  return {
    names,
    remove() {
      using socket = new NetlinkSocket(platform);
      const bridges = listRangeBridges(socket);
      for (const { index } of links) deleteLink(socket, index);
      for (const { addresses } of attachments) {
        for (const address of addresses) leaveBridges(socket, bridges, address);
      }
    },
  };
}

/**
 * Removes the routes to the pods of other nodes and the tunnel device. Returns a line for each. To be called in the
 * node's network namespace. Throws NetlinkError.
 */
export function removeNodeRoutes(platform: Platform): string[] {
  using node = new NetlinkSocket(platform);
  const removed: string[] = [];
  for (const { destination, protocol } of listRoutes(node)) {
    if (protocol !== routeProtocol) continue;
    if (removeRoute(node, { destination, protocol })) removed.push(`route to ${destination}`);
  }
  if (removeTunnelDevice(node)) removed.push(`interface ${tunnelName}`);
  return removed;
}
