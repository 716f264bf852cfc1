import { existsSync } from 'node:fs';
import {
  addAddress,
  addNeighbour,
  addRoute,
  changeLink,
  createBridge,
  createVeth,
  findLink,
  NetlinkSocket,
  NetworkNamespace,
  replaceRoute,
} from '@heddle/netlink';
import {
  createPodInterface,
  gateway,
  type PodInterface,
  prepareNamespace,
  removePodInterface,
} from '@heddle/podnet';
import type { Platform } from '@heddle/sys';
import type { LabHost, LabNode, LabPod } from './lab-host.ts';
import type { NetworkState } from './run-folder.ts';
import {
  type Addresses,
  farUnderlayAddresses,
  gatewayMac,
  largestNode,
  nodeMac,
  nodePortName,
  outsideGatewayMac,
  outsideLinkName,
  outsideMac,
  podLinkName,
  podMac,
  podRange,
  spoofedRanges,
  underlayAddresses,
  underlayMac,
} from './topology.ts';

// Everything that hosts would learn by packets (neighbours, link-local addresses, routers) is
// configured instead, so that only packets of the test are on the network.

const loopback = 1;
const bridge = 'br0';
const ends = ['v4', 'v6'] as const;
const hostBits = { v4: 32, v6: 128 };
const underlayBits = { v4: 24, v6: 64 };
const everywhere = { v4: '0.0.0.0/0', v6: '::/0' };

/** Creates the host beyond the nodes, with the bridge that connects them. */
export function createUnderlay(platform: Platform, underlay: LabHost, network: NetworkState): void {
  using namespace = createNamespace(platform, underlay);
  // If br_netfilter is loaded on the host, frames would pass netfilter's hooks on the bridge.
  for (const tables of ['iptables', 'ip6tables', 'arptables']) {
    const setting = `net/bridge/bridge-nf-call-${tables}`;
    if (existsSync(`/proc/sys/${setting}`)) namespace.setSysctl(setting, 0);
  }
  using socket = openSocket(platform, underlay);
  const { index } = createBridge(socket, {
    name: bridge,
    address: underlayMac,
    mtu: network.mtu,
    up: true,
  });
  for (const addresses of [underlayAddresses, farUnderlayAddresses]) {
    if (addresses === farUnderlayAddresses && network.farFrom > largestNode) continue;
    for (const end of ends) addAddress(socket, index, `${addresses[end]}/${underlayBits[end]}`);
  }
}

/** Makes the underlay a router between the nodes and the outside hosts. */
export function enableRouting(platform: Platform, underlay: LabHost): void {
  using namespace = underlay.openNamespace();
  setForwarding(namespace, true);
  underlay.sendEachIcmpError();
  // The nodes that it forwards between are on one link; it must not send ICMP redirects for that.
  for (const scope of ['all', bridge]) {
    namespace.setSysctl(`net/ipv4/conf/${scope}/send_redirects`, 0);
  }
  using socket = openSocket(platform, underlay);
  addAddress(socket, loopback, `${gateway.v4}/32`, { scope: 'link' });
  for (const end of ends) {
    addRoute(socket, { destination: spoofedRanges[end], type: 'blackhole' });
  }
}

/** Sets whether a host forwards packets: a new namespace has the machine's setting of IPv4. */
function setForwarding(namespace: NetworkNamespace, forwards: boolean): void {
  namespace.setSysctl('net/ipv4/ip_forward', forwards ? 1 : 0);
  namespace.setSysctl('net/ipv6/conf/all/forwarding', forwards ? 1 : 0);
}

/** Creates a node and connects it to the underlay and to the existing nodes. */
export function connectNode(
  platform: Platform,
  node: LabNode,
  underlay: LabHost,
  others: readonly LabNode[],
  network: NetworkState,
): void {
  const { mtu, pathMtu, podPathMtu, podRoutes } = network;
  const isFar = (each: LabNode) => each.number >= network.farFrom;
  const router = isFar(node) ? farUnderlayAddresses : underlayAddresses;
  using namespace = createNamespace(platform, node);
  setForwarding(namespace, network.forwarding);
  using outside = openSocket(platform, underlay);
  using inside = openSocket(platform, node);
  const bridgeIndex = findLink(outside, bridge)!.index;
  const { peer } = createVeth(
    outside,
    { name: nodePortName(node.number), mtu, master: bridgeIndex, up: true },
    { name: 'eth0', address: nodeMac(node.number), mtu, namespaceFd: namespace.fd, up: true },
  );
  const eth0 = peer.index;
  addAddress(inside, loopback, `${gateway.v4}/32`, { scope: 'link' });
  for (const end of ends) {
    addAddress(inside, eth0, `${node.addresses[end]}/${underlayBits[end]}`);
    addNeighbour(inside, { link: eth0, address: router[end], lladdr: underlayMac });
    addRoute(inside, { destination: everywhere[end], via: router[end], link: eth0 });
  }
  addNeighbours(outside, bridgeIndex, node);
  if (podRoutes) addPodRoutes(outside, bridgeIndex, node, node.addresses);
  if (podPathMtu < mtu) limitPacketSize(outside, bridgeIndex, node, network);
  for (const other of others) {
    using socket = openSocket(platform, other);
    const otherEth0 = findLink(socket, 'eth0')!.index;
    const isNear = isFar(other) === isFar(node);
    if (isNear) {
      addNeighbours(inside, eth0, other);
      addNeighbours(socket, otherEth0, node);
    }
    if (!podRoutes) continue;
    const isDirect = isNear && podPathMtu >= pathMtu;
    addPodRoutes(inside, eth0, other, isDirect ? other.addresses : router);
    const itsRouter = isFar(other) ? farUnderlayAddresses : underlayAddresses;
    addPodRoutes(socket, otherEth0, node, isDirect ? node.addresses : itsRouter);
  }
}

/** Adds the neighbours of a node on the link with ifindex `link`, in the network namespace of `socket`. */
function addNeighbours(socket: NetlinkSocket, link: number, node: LabNode): void {
  for (const end of ends) {
    addNeighbour(socket, { link, address: node.addresses[end], lladdr: nodeMac(node.number) });
  }
}

/** Adds the routes to the pods of a node via `via`, in the network namespace of `socket`. */
function addPodRoutes(socket: NetlinkSocket, link: number, node: LabNode, via: Addresses): void {
  for (const end of ends) {
    addRoute(socket, { destination: podRange(node.number)[end], via: via[end], link });
  }
}

/** Limits the size of packets to a node and its pods; the sender of a larger one gets an ICMP error. */
function limitPacketSize(
  socket: NetlinkSocket,
  link: number,
  node: LabNode,
  { pathMtu, podPathMtu }: NetworkState,
): void {
  for (const end of ends) {
    const via = node.addresses[end];
    replaceRoute(socket, { destination: podRange(node.number)[end], via, link, mtu: podPathMtu });
    addRoute(socket, { destination: `${via}/${hostBits[end]}`, link, mtu: pathMtu });
  }
}

/** Creates the namespace of a pod and connects it to its node. */
export function connectPod(platform: Platform, pod: LabPod, network: NetworkState): void {
  const { node, number } = pod;
  connectHost(platform, pod, node, {
    name: podLinkName(number),
    mac: gatewayMac(node.number, number),
    podMac: podMac(node.number, number),
    kind: number >= network.netkitFrom ? 'netkit' : 'veth',
    mtu: network.mtu,
    forwarding: network.forwarding,
  });
}

/** Creates the namespace of a pod as a container runtime does: with loopback only. */
export function createLoopbackNamespace(platform: Platform, pod: LabPod): void {
  using namespace = NetworkNamespace.create(platform, pod.netnsPath);
  using socket = namespace.enter(() => new NetlinkSocket(platform));
  changeLink(socket, loopback, { up: true });
}

/** Creates an outside host and connects it to the underlay's router. */
export function connectOutsideHost(
  platform: Platform,
  host: LabHost,
  number: number,
  underlay: LabHost,
  { mtu, pathMtu }: NetworkState,
): void {
  connectHost(platform, host, underlay, {
    name: outsideLinkName(number),
    mac: outsideGatewayMac(number),
    podMac: outsideMac(number),
    mtu,
    ...(pathMtu < mtu ? { routeMtu: pathMtu } : {}),
  });
}

type Connection = Pick<
  PodInterface,
  'name' | 'kind' | 'mac' | 'podMac' | 'mtu' | 'routeMtu' | 'forwarding'
>;

/** Creates a host that has one network interface and reaches everything through one router. */
function connectHost(
  platform: Platform,
  host: LabHost,
  router: LabHost,
  connection: Connection,
): void {
  using namespace = createNamespace(platform, host);
  using routerNamespace = router.openNamespace();
  routerNamespace.enter(() => {
    using socket = new NetlinkSocket(platform);
    createPodInterface(platform, socket, namespace, {
      ...connection,
      podName: 'eth0',
      addresses: ends.map((end) => ({
        address: host.addresses[end],
        source: router.addresses[end],
      })),
    });
  });
}

/** Routes an address of neither node nor pod, e.g. an external IP, from the outside to a node. */
export function routeTo(
  platform: Platform,
  underlay: LabHost,
  address: string,
  node: LabNode,
): void {
  using socket = openSocket(platform, underlay);
  const end = address.includes(':') ? 'v6' : 'v4';
  replaceRoute(socket, {
    destination: `${address}/${hostBits[end]}`,
    via: node.addresses[end],
    link: findLink(socket, bridge)!.index,
  });
}

/** Removes the pod interface, and with it the routes and neighbours. */
export function disconnectPod(platform: Platform, pod: LabPod): void {
  using socket = openSocket(platform, pod.node);
  removePodInterface(socket, podLinkName(pod.number));
}

function createNamespace(platform: Platform, host: LabHost): NetworkNamespace {
  const namespace = NetworkNamespace.create(platform, host.netnsPath);
  prepareNamespace(platform, namespace);
  return namespace;
}

function openSocket(platform: Platform, host: LabHost): NetlinkSocket {
  using namespace = host.openNamespace();
  return namespace.enter(() => new NetlinkSocket(platform));
}
