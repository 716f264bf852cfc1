import {
  addAddress,
  addNeighbour,
  addRoute,
  createVeth,
  deleteLink,
  findLink,
  type LinkPair,
  type NetlinkSocket,
} from '@heddle/netlink';

/**
 * The default gateway of every pod, in both families. The addresses are link-local, so they are the
 * same on all nodes and need no address of the node's.
 */
export const gateway = { v4: '169.254.1.1', v6: 'fe80::1' } as const;

/** A veth pair that connects a pod to its node. */
export interface PodInterface {
  /** Name of the node's end, the pod interface. */
  readonly name: string;
  /** Name of the pod's end, e.g. `eth0`. */
  readonly podName: string;
  /** Link-layer address of the node's end, to which the pod sends everything. */
  readonly mac: string;
  /** Link-layer address of the pod's end. */
  readonly podMac: string;
  /** Bytes, of both ends. */
  readonly mtu: number;
  /** The pod's addresses, at most one of each family. */
  readonly addresses: readonly PodAddress[];
  /** Largest packet that the node sends to the pod, bytes. Default: `mtu`. */
  readonly routeMtu?: number;
}

/** One address of a pod. */
export interface PodAddress {
  /** IPv4 or IPv6 address, without a prefix length. */
  readonly address: string;
  /** The node's source address for its own packets to the pod. */
  readonly source: string;
}

/**
 * Connects a pod, whose network namespace the descriptor `namespaceFd` refers to, to the node in
 * whose namespace `node` is, and returns both ends of the veth pair, which are up. The link is
 * point-to-point: each address is a /32 or /128, the pod's default route leads to `gateway`, and the
 * node has one route for each address. Neighbour entries are permanent on both ends, so no packet
 * waits for ARP or neighbour discovery. Throws NetlinkError and SysError, and then leaves no link
 * behind.
 */
export function createPodInterface(
  node: NetlinkSocket,
  namespaceFd: number,
  pod: PodInterface,
): LinkPair {
  const { mtu } = pod;
  const pair = createVeth(
    node,
    { name: pod.name, address: pod.mac, mtu, up: true },
    { name: pod.podName, address: pod.podMac, mtu, namespaceFd, up: true },
  );
  try {
    using inside = node.openIn(namespaceFd);
    // The kernel answers neighbour discovery only for addresses of the interface that is asked.
    addAddress(node, pair.link.index, `${gateway.v6}/128`);
    for (const address of pod.addresses) {
      configurePod(inside, pair.peer.index, pod, address);
      configureNode(node, pair.link.index, pod, address);
    }
    return pair;
  } catch (error) {
    deleteLink(node, pair.link.index);
    throw error;
  }
}

function configurePod(
  pod: NetlinkSocket,
  link: number,
  { mac }: PodInterface,
  { address }: PodAddress,
): void {
  const isV6 = address.includes(':');
  const via = isV6 ? gateway.v6 : gateway.v4;
  addAddress(pod, link, hostPrefix(address));
  addNeighbour(pod, { link, address: via, lladdr: mac });
  addRoute(pod, { destination: isV6 ? '::/0' : '0.0.0.0/0', via, link, onlink: true });
}

function configureNode(
  node: NetlinkSocket,
  link: number,
  { podMac, routeMtu }: PodInterface,
  { address, source }: PodAddress,
): void {
  addNeighbour(node, { link, address, lladdr: podMac });
  addRoute(node, {
    destination: hostPrefix(address),
    link,
    source,
    ...(routeMtu === undefined ? {} : { mtu: routeMtu }),
  });
}

/**
 * Removes the pod interface with that name, its other end, and with them their addresses, routes
 * and neighbours. Returns false when there is none. Throws NetlinkError.
 */
export function removePodInterface(node: NetlinkSocket, name: string): boolean {
  const link = findLink(node, name);
  return link !== undefined && deleteLink(node, link.index);
}

function hostPrefix(address: string): string {
  return `${address}/${address.includes(':') ? 128 : 32}`;
}
