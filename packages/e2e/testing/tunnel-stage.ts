import type { Datapath } from '@heddle/datapath';
import { createLab, type Lab, type LabNode, type LabPod } from '@heddle/lab';
import { findLink } from '@heddle/netlink';
import { ensureTunnelDevice, NodeRoutes, tunnelId } from '@heddle/podnet';
import type { NodePath, RemoteNode } from '@heddle/routes';
import type { SocketAddress } from '@heddle/sys/net';
import { nodePlatform } from '@heddle/sys/node';
import { kernelRoute, openNodeDatapath, rangesOf } from './node-datapath.ts';

const ends = ['v4', 'v6'] as const;
const families = { v4: 'IPv4', v6: 'IPv6' } as const;

export interface TunnelStageOptions {
  /** The family of the addresses between nodes. Default: v4. */
  readonly underlay?: 'v4' | 'v6';
  /**
   * `tunnel`: also between nodes on one link. `native`: the last node is behind a router, and routes to all pods exist
   * already. Default: tunnel.
   */
  readonly mode?: 'direct' | 'tunnel' | 'native';
  /** Number of outside hosts. Default: 0. */
  readonly outside?: number;
  /** Observes the connections of all pods. Default: false. */
  readonly visibility?: boolean;
  /** Runs before any program is attached. */
  readonly before?: (lab: Lab) => void;
}

/**
 * Nodes whose pods have Heddle as their network, each with a datapath of its own in this process, and paths to all
 * other nodes as the agent programs them.
 */
export class TunnelStage implements Disposable {
  readonly platform = nodePlatform(() => {});
  readonly lab: Lab;
  readonly datapaths = new Map<LabNode, Datapath>();
  readonly #options: Required<TunnelStageOptions>;
  readonly #opened: Disposable[] = [];

  constructor(name: string, nodes: number, options: TunnelStageOptions = {}) {
    this.#options = {
      ...{ underlay: 'v4', mode: 'tunnel', outside: 0, visibility: false, before: () => {} },
      ...options,
    };
    const { mode, outside, before } = this.#options;
    this.lab = createLab(this.platform, {
      ...{ name: `${name}-${process.pid}`, nodes, podsPerNode: 1, outside },
      podRoutes: mode === 'native',
      ...(mode === 'direct' ? {} : { farFrom: mode === 'tunnel' ? 2 : nodes }),
    });
    try {
      before(this.lab);
      for (const node of this.lab.nodes) this.#open(node);
      for (const node of this.lab.nodes) this.#programPaths(node);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  pod(node: number): LabPod {
    return this.lab.nodes[node - 1]!.pods[0]!;
  }

  datapath(node: number): Datapath {
    return this.datapaths.get(this.lab.nodes[node - 1]!)!;
  }

  /** Programs a service of all these frontends at a node; the first one is a cluster IP, the second a NodePort. */
  serve(
    node: number,
    {
      protocol,
      frontends: [clusterIP, nodePort],
      backends,
    }: {
      readonly protocol: 'TCP' | 'UDP';
      readonly frontends: readonly [SocketAddress, SocketAddress];
      readonly backends: readonly SocketAddress[];
    },
  ): void {
    const name = `${protocol}-${clusterIP.port}`;
    const [error] = this.datapath(node).services.update([
      {
        ...{
          key: `default/${name}/${clusterIP.address}`,
          namespace: 'default',
          name,
          portName: name,
        },
        ...{ scope: 'everybody', silent: false, protocol },
        family: clusterIP.address.includes(':') ? 'IPv6' : 'IPv4',
        frontends: [
          { ...clusterIP, protocol, kind: 'ClusterIP' },
          { ...nodePort, protocol, kind: 'NodePort' },
        ],
        backends: backends.map((backend) => ({ ...backend, state: 'active', weight: 1 })),
        ...{ algorithm: 'random', forwarding: 'snat', sourceRanges: [], affinitySeconds: 0 },
        problems: [],
      },
    ]);
    if (error) throw error;
  }

  /** Returns the number of dropped packets of a node, by reason. */
  drops(node: number): Record<string, number> {
    const counts = this.datapath(node).drops.counts();
    return Object.fromEntries(
      counts.filter(({ count }) => count > 0).map(({ reason, count }) => [reason, count]),
    );
  }

  [Symbol.dispose](): void {
    for (const each of this.#opened) each[Symbol.dispose]();
    this.lab.remove();
  }

  #open(node: LabNode): void {
    const datapath = openNodeDatapath(this.platform, node, 1000, this.#options.visibility);
    this.#opened.push(datapath);
    this.datapaths.set(node, datapath);
    const { v4, v6 } = node.addresses;
    node.enter(() => datapath.setNode([node.link('eth0')], [v4, v6, ...routersOf(node)]));
    for (const pod of node.pods) {
      const { address: mac, mtu } = pod.link('eth0');
      const ifindex = node.link(pod.nodeLink).index;
      const addresses = [pod.addresses.v4, pod.addresses.v6];
      node.enter(() => datapath.pods.set({ ifindex, kind: 'veth', mac, addresses, mtu }));
    }
  }

  #programPaths(node: LabNode): void {
    const { nodeRoutes } = this.datapaths.get(node)!;
    const others = this.lab.nodes.filter((each) => each !== node);
    // Nodes behind a tunnel do not reach pods otherwise.
    const plain = this.#options.mode === 'tunnel' ? [] : others;
    nodeRoutes.setMasquerade({
      ...{ ipv4: true, ipv6: true },
      exclusions: [
        ...this.lab.nodes.flatMap(rangesOf),
        ...plain.flatMap(({ addresses: { v4, v6 } }) => [`${v4}/32`, `${v6}/128`]),
      ],
    });
    if (this.#options.mode === 'native') {
      for (const other of others) nodeRoutes.set(this.#rowOf(node, other));
      return;
    }
    const overhead = { ipv4: 50, ipv6: 70 };
    node.enter(() => {
      node.configure((socket) => {
        const { mtu } = findLink(socket, 'eth0')!;
        const device = ensureTunnelDevice(this.platform, socket, {
          port: 8472,
          mtu: mtu - (this.#options.underlay === 'v4' ? overhead.ipv4 : overhead.ipv6),
          addresses: routersOf(node),
        });
        nodeRoutes.setTunnel({
          device,
          addresses: [node.addresses[this.#options.underlay]],
          sources: routersOf(node),
          id: tunnelId,
          mtu: { ipv4: mtu - overhead.ipv4, ipv6: mtu - overhead.ipv6 },
        });
        const routes = new NodeRoutes();
        for (const other of others) {
          const row = this.#rowOf(node, other, device.index);
          nodeRoutes.set(row);
          routes.set(
            socket,
            row.key,
            row.ranges.map((range, i) => kernelRoute(range, row.paths[i]!)),
          );
        }
      });
    });
  }

  #rowOf(node: LabNode, other: LabNode, tunnel = 0): RemoteNode {
    const { underlay, mode } = this.#options;
    const { index: eth0 } = node.link('eth0');
    const paths = ends.map((end, i): NodePath => {
      const common = { family: families[end], reason: 'the test wants it' } as const;
      if (mode === 'native') return { ...common, mode: 'direct' };
      return mode === 'direct'
        ? { ...common, mode, via: other.addresses[end], link: eth0 }
        : {
            ...{ ...common, mode, via: other.addresses[underlay], link: tunnel },
            ...{ from: node.addresses[underlay], source: routersOf(node)[i]! },
          };
    });
    return {
      ...{ key: other.name, addresses: [other.addresses[underlay]], paths, problems: [] },
      ranges: rangesOf(other),
    };
  }
}

/** Returns the addresses of a node in tunnels, which no pod of the lab has. */
function routersOf({ number }: LabNode): string[] {
  return [`10.244.${number}.254`, `fd00:10:244:${number}::ffff`];
}
