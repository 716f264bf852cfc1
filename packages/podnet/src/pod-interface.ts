import {
  changeLink,
  createNetkit,
  createVeth,
  deleteLink,
  findLink,
  isNetlinkError,
  type LinkPair,
  type NetlinkSocket,
  type NetworkNamespace,
} from '@heddle/netlink';
import type { Platform } from '@heddle/sys';
import { configureNode, prepareNode } from './node-end.ts';
import { configurePod, prepareBeforeUp } from './pod-end.ts';
import { gatewayMac, type PodInterface } from './pod-settings.ts';

/** The pod has an interface of that name already. */
export class PodLinkExists extends Error {
  override readonly name = 'PodLinkExists';
}

/**
 * Connects a pod, whose network namespace is `namespace`, to the node in whose namespace the calling
 * thread and `node` are, and returns both ends of the pair, which are up. The link is point-to-point:
 * each address is a /32 or /128, the pod's default route leads to `gateway`, and the node has one
 * route for each address. Neighbour entries are permanent on both ends, so no packet waits for ARP
 * or neighbour discovery.
 *
 * The alias is set right after the creation: an interface without one is unfinished. The pod's end
 * comes up last, after `program` has been called with the pair, so that no packet passes before its
 * programs are attached. Throws PodLinkExists, NetlinkError, SysError, and what `program` throws, and
 * then leaves no link behind.
 */
export function createPodInterface(
  platform: Platform,
  node: NetlinkSocket,
  namespace: NetworkNamespace,
  pod: PodInterface,
  program: (pair: LinkPair) => void = () => {},
): LinkPair {
  using inside = node.openIn(namespace.fd);
  if (findLink(inside, pod.podName)) throw linkExists(pod);
  const pair = createPair(node, namespace, pod);
  try {
    const { alias, segmentSize } = pod;
    if (alias !== undefined) changeLink(node, pair.link.index, { alias });
    if (segmentSize !== undefined) {
      changeLink(node, pair.link.index, { segmentSize });
      changeLink(inside, pair.peer.index, { segmentSize });
    }
    prepareNode(platform, pod);
    configureNode(node, pair.link.index, pod);
    prepareBeforeUp(platform, inside, namespace, pair.peer.index, pod);
    program(pair);
    changeLink(inside, pair.peer.index, { up: true });
    // The kernel accepts routes only for a link that is up.
    configurePod(inside, pair.peer.index, pod);
    return { link: findLink(node, pair.link.index)!, peer: findLink(inside, pair.peer.index)! };
  } catch (error) {
    deleteLink(node, pair.link.index);
    throw error;
  }
}

function createPair(node: NetlinkSocket, namespace: NetworkNamespace, pod: PodInterface): LinkPair {
  const { name, podName, podMac, mtu, kind = 'veth', mac = gatewayMac } = pod;
  // The node's end is up from the beginning, as the node's routes need it; it has no carrier yet.
  const link = { name, mtu, up: true };
  const peer = { name: podName, mtu, namespaceFd: namespace.fd };
  return kind === 'netkit'
    ? createNetkit(node, 'l3', link, peer, true)
    : createVeth(node, { ...link, address: mac }, { ...peer, address: podMac });
}

function linkExists({ podName }: PodInterface): PodLinkExists {
  return new PodLinkExists(`create pod interface: the pod has an interface ${podName} already`);
}

/**
 * Removes the pod interface with that name, its other end, and with them their addresses, routes
 * and neighbours. Returns false when there is none. The kernel takes some 30 ms for it. Throws
 * NetlinkError.
 */
export function removePodInterface(node: NetlinkSocket, name: string): boolean {
  const link = findLink(node, name);
  return link !== undefined && deleteLink(node, link.index);
}

/** Returns true for the error of a pod interface whose name is taken on the node. */
export function isNameTaken(error: unknown): boolean {
  return isNetlinkError(error, 'EEXIST');
}
