import type { Lab, LabOptions } from '@heddle/lab';
import { addNeighbour, addRoute, changeLink, replaceRoute } from '@heddle/netlink';
import type { SocketAddress } from '@heddle/sys/net';
import type { BalancerName } from './variants/balancer.ts';

// The places of the client and the backends of a measurement. All labs of a site are alike.

export interface Site {
  readonly lab: Omit<LabOptions, 'name'>;
  /** Name of the place that connects. */
  readonly client: string;
  /** Names of the pods that answer, and their addresses: the same in every lab. */
  readonly backendPods: readonly string[];
  readonly backendAddresses: readonly string[];
  readonly nodePorts: boolean;
  readonly protocol: 'TCP' | 'UDP';
  /** Those that can serve it. */
  readonly balancers: readonly BalancerName[];
  /** True if Heddle is the network of the pods: its CNI plug-in connects those of its lab. */
  readonly isNetwork?: boolean;
  /** True if no variant goes through a service. */
  readonly isDirect?: boolean;
  /** Prepares a new lab beyond its options. */
  prepare(lab: Lab): void;
}

export type SiteName =
  | 'east-west'
  | 'north-south'
  | 'one-armed'
  | 'pods'
  | 'pods-nodes'
  | 'pods-world'
  | 'pods-policies'
  | 'pods-flows';

export const nodeAddress = '192.0.2.1';
/** Ports from here on are NodePorts, one for each service (--service-node-port-range). */
const firstNodePort = 10_000;

/** A pod connects to ClusterIPs of pods on its own node. */
const eastWest: Site = {
  lab: { podsPerNode: 3 },
  client: 'pod-1-1',
  backendPods: ['pod-1-2', 'pod-1-3'],
  backendAddresses: ['10.244.1.2', '10.244.1.3'],
  nodePorts: false,
  protocol: 'TCP',
  balancers: ['heddle', 'iptables', 'nftables'],
  prepare() {},
};

/**
 * A host beyond the router connects to NodePorts of node 1, for pods on node 2. What it sends
 * directly to those pods goes the same way, and so do their answers: through node 1.
 */
const northSouth: Site = {
  lab: { nodes: 2, podsPerNode: 2, outside: 1 },
  client: 'outside-1',
  backendPods: ['pod-2-1', 'pod-2-2'],
  backendAddresses: ['10.244.2.1', '10.244.2.2'],
  nodePorts: true,
  protocol: 'TCP',
  balancers: ['heddle', 'iptables', 'nftables'],
  prepare(lab) {
    const [entry, home] = lab.nodes;
    for (const address of this.backendAddresses) lab.routeTo(entry!, address);
    home!.configure((socket) =>
      replaceRoute(socket, {
        destination: `${lab.outside[0]!.addresses.v4}/32`,
        via: entry!.addresses.v4,
        link: home!.link('eth0').index,
      }),
    );
    // Both neighbours could bypass it; without this setting it would send redirects for each packet.
    for (const device of ['all', 'eth0']) {
      entry!.setSysctl(`net/ipv4/conf/${device}/send_redirects`, 0);
    }
  },
};

/**
 * Node 1 alone between two ends of one wire, `port1` in the underlay: what it sends on to a backend
 * leaves by the interface of the packet, belongs to no host there, and is dropped.
 */
const oneArmed: Site = {
  lab: { podsPerNode: 1 },
  client: 'underlay',
  backendPods: ['pod-1-1'],
  backendAddresses: ['10.244.9.1', '10.244.9.2'],
  nodePorts: true,
  protocol: 'UDP',
  balancers: ['heddle', 'iptables', 'nftables'],
  prepare(lab) {
    const [node] = lab.nodes;
    const port = lab.underlay.link(wireEnd).index;
    lab.underlay.configure((socket) => changeLink(socket, port, { master: 0 }));
    const link = node!.link('eth0').index;
    const nobody = '192.0.2.77';
    node!.configure((socket) => {
      addNeighbour(socket, { link, address: nobody, lladdr: '02:00:c0:00:02:4d' });
      addRoute(socket, { destination: '10.244.9.0/24', via: nobody, link });
    });
    for (const device of ['all', 'eth0']) {
      node!.setSysctl(`net/ipv4/conf/${device}/send_redirects`, 0);
    }
  },
};

/** Pods of one node, whose network is Heddle or the kernel's routing between veth pairs. */
const pods: Site = {
  ...eastWest,
  balancers: ['heddle'],
  isNetwork: true,
};

/** The same on two nodes with one link between them. */
const podsNodes: Site = {
  ...pods,
  lab: { nodes: 2, podsPerNode: 3 },
  backendPods: ['pod-2-2', 'pod-2-3'],
  backendAddresses: ['10.244.2.2', '10.244.2.3'],
};

/** A pod connects to hosts beyond a router, which see an address of its node. */
const podsWorld: Site = {
  ...pods,
  lab: { podsPerNode: 1, outside: 2 },
  backendPods: ['outside-1', 'outside-2'],
  backendAddresses: ['203.0.113.1', '203.0.113.2'],
  balancers: ['heddle', 'nftables'],
  isDirect: true,
};

/** Pods of one node with network policies, enforced by Heddle and others, beside pods without any. */
const podsPolicies: Site = {
  ...pods,
  balancers: ['heddle', 'heddle policies', 'kube-router', 'kube-network-policies'],
  isDirect: true,
};

/** Pods of one node, of Heddle without and with the setting `visibility`. */
const podsFlows: Site = {
  ...pods,
  balancers: ['heddle', 'heddle visibility'],
};

/**
 * Returns the pods that policies select there. Heddle gives the client the address after those of the backends; in
 * the other labs pods have the addresses of the lab.
 */
export function measuredPods(isConnectedByHeddle: boolean): { name: string; address: string }[] {
  const { client, backendPods, backendAddresses } = podsPolicies;
  return [
    { name: client, address: isConnectedByHeddle ? '10.244.1.4' : '10.244.1.1' },
    ...backendPods.map((name, i) => ({ name, address: backendAddresses[i]! })),
  ];
}

/** The device of the one-armed site's underlay. */
export const wireEnd = 'port1';

export const sites: Readonly<Record<SiteName, Site>> = {
  'east-west': eastWest,
  'north-south': northSouth,
  'one-armed': oneArmed,
  pods,
  'pods-nodes': podsNodes,
  'pods-world': podsWorld,
  'pods-policies': podsPolicies,
  'pods-flows': podsFlows,
};

/** Returns the address and port at which external clients reach the n-th service. */
export function nodePort(n: number): SocketAddress {
  return { address: nodeAddress, port: firstNodePort + n };
}
