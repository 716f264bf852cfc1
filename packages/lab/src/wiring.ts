import {
  addAddress,
  addNeighbour,
  addRoute,
  changeLink,
  createBridge,
  createVeth,
  deleteLink,
  findLink,
  NetlinkSocket,
  NetworkNamespace,
} from '@heddle/netlink';
import type { Platform } from '@heddle/sys';
import type { LabNode, LabPod, Place } from './place.ts';
import {
  gateway,
  gatewayMac,
  nodeMac,
  nodePortName,
  podLinkName,
  podMac,
  podRange,
  underlayAddresses,
  underlayMac,
} from './topology.ts';

// Everything that could be learnt (neighbours, link-local addresses, routers) is set instead, so
// that no packet but a test's own is ever under way.

const loopback = 1;
const bridge = 'br0';
const ends = ['v4', 'v6'] as const;
const hostBits = { v4: 32, v6: 128 };
const underlayBits = { v4: 24, v6: 64 };
const everywhere = { v4: '0.0.0.0/0', v6: '::/0' };

/** Makes the host beyond the nodes, with the bridge that they are plugged into. */
export function wireUnderlay(platform: Platform, underlay: Place): void {
  using _ = createNamespace(platform, underlay);
  using socket = openSocket(platform, underlay);
  createBridge(socket, { name: bridge, address: underlayMac, up: true });
  const { index } = findLink(socket, bridge)!;
  for (const end of ends) {
    addAddress(socket, index, `${underlayAddresses[end]}/${underlayBits[end]}`);
  }
}

/** Makes a node and plugs it into the underlay, in sight of the nodes that are there already. */
export function wireNode(
  platform: Platform,
  node: LabNode,
  underlay: Place,
  others: readonly LabNode[],
): void {
  using namespace = createNamespace(platform, node);
  namespace.setSysctl('net/ipv4/ip_forward', 1);
  namespace.setSysctl('net/ipv6/conf/all/forwarding', 1);
  using outside = openSocket(platform, underlay);
  using inside = openSocket(platform, node);
  const bridgeIndex = findLink(outside, bridge)!.index;
  createVeth(
    outside,
    { name: nodePortName(node.number), master: bridgeIndex, up: true },
    { name: 'eth0', address: nodeMac(node.number), namespaceFd: namespace.fd },
  );
  const eth0 = findLink(inside, 'eth0')!.index;
  changeLink(inside, eth0, { up: true });
  addAddress(inside, loopback, `${gateway.v4}/32`, { scope: 'link' });
  for (const end of ends) {
    addAddress(inside, eth0, `${node.addresses[end]}/${underlayBits[end]}`);
    addNeighbour(inside, { link: eth0, address: underlayAddresses[end], lladdr: underlayMac });
    addRoute(inside, { destination: everywhere[end], via: underlayAddresses[end], link: eth0 });
  }
  introduce(outside, bridgeIndex, node);
  for (const other of others) {
    introduce(inside, eth0, other);
    using socket = openSocket(platform, other);
    introduce(socket, findLink(socket, 'eth0')!.index, node);
  }
}

/** Tells the owner of `socket` where a node and its pods are, on the device with ifindex `link`. */
function introduce(socket: NetlinkSocket, link: number, node: LabNode): void {
  for (const end of ends) {
    addNeighbour(socket, { link, address: node.addresses[end], lladdr: nodeMac(node.number) });
    addRoute(socket, {
      destination: podRange(node.number)[end],
      via: node.addresses[end],
      link,
    });
  }
}

/** Makes a pod and connects it to its node. */
export function wirePod(platform: Platform, pod: LabPod): void {
  const { node } = pod;
  using namespace = createNamespace(platform, pod);
  using outside = openSocket(platform, node);
  using inside = openSocket(platform, pod);
  const name = podLinkName(pod.number);
  const mac = podMac(node.number, pod.number);
  const peerMac = gatewayMac(node.number, pod.number);
  createVeth(
    outside,
    { name, address: peerMac, up: true },
    { name: 'eth0', address: mac, namespaceFd: namespace.fd },
  );
  const eth0 = findLink(inside, 'eth0')!.index;
  changeLink(inside, eth0, { up: true });
  const veth = findLink(outside, name)!.index;
  addAddress(outside, veth, `${gateway.v6}/128`);
  for (const end of ends) {
    const address = pod.addresses[end];
    addAddress(inside, eth0, `${address}/${hostBits[end]}`);
    addNeighbour(inside, { link: eth0, address: gateway[end], lladdr: peerMac });
    addRoute(inside, {
      destination: everywhere[end],
      via: gateway[end],
      link: eth0,
      onlink: true,
    });
    addNeighbour(outside, { link: veth, address, lladdr: mac });
    addRoute(outside, {
      destination: `${address}/${hostBits[end]}`,
      link: veth,
      source: node.addresses[end],
    });
  }
}

/** Cuts a pod off from its node; its routes and neighbours go with the device. */
export function unwirePod(platform: Platform, pod: LabPod): void {
  using socket = openSocket(platform, pod.node);
  const link = findLink(socket, podLinkName(pod.number));
  if (link) deleteLink(socket, link.index);
}

function createNamespace(platform: Platform, place: Place): NetworkNamespace {
  const namespace = NetworkNamespace.create(platform, place.netnsPath);
  // What a namespace starts with depends on the host's settings, so it is all said here. `default`
  // is for the devices to come.
  for (const scope of ['all', 'default']) {
    namespace.setSysctl(`net/ipv4/conf/${scope}/rp_filter`, 0);
    namespace.setSysctl(`net/ipv6/conf/${scope}/disable_ipv6`, 0);
    namespace.setSysctl(`net/ipv6/conf/${scope}/accept_dad`, 0);
    namespace.setSysctl(`net/ipv6/conf/${scope}/accept_ra`, 0);
  }
  // 1: no link-local address is made up.
  namespace.setSysctl('net/ipv6/conf/default/addr_gen_mode', 1);
  using socket = namespace.enter(() => new NetlinkSocket(platform));
  changeLink(socket, loopback, { up: true });
  return namespace;
}

function openSocket(platform: Platform, place: Place): NetlinkSocket {
  using namespace = NetworkNamespace.open(platform, place.netnsPath);
  return namespace.enter(() => new NetlinkSocket(platform));
}
