import { type Datapath, dropReasonText } from '@heddle/datapath';
import { createLab, type Lab, type LabHost, type LabNode, type PodPlugin } from '@heddle/lab';
import { findLink, NetlinkSocket } from '@heddle/netlink';
import { type ObjectChange, policyReader } from '@heddle/objects';
import { createPodInterface, ensureTunnelDevice, NodeRoutes, tunnelId } from '@heddle/podnet';
import { PolicyModel } from '@heddle/policy';
import type { NodePath as RoutePath } from '@heddle/routes';
import type { Platform } from '@heddle/sys';
import { nodePlatform } from '@heddle/sys/node';
import { kernelRoute, openNodeDatapath, rangesOf } from '../node-datapath.ts';
import { type ManifestObject, nodeObject } from '../node-network-lab.ts';
import type { CaseLab, ObjectsChange } from './case-lab.ts';
import { type NodePath, type PodSpec, podKey, podObject, policyReasons } from './policy-lab.ts';

const ends = ['v4', 'v6'] as const;
const families = { v4: 'IPv4', v6: 'IPv6' } as const;

interface DirectNode {
  readonly node: LabNode;
  readonly datapath: Datapath;
  readonly model: PolicyModel;
}

/**
 * Two nodes whose network policies are computed and programmed in this process, without agents and their control plane: the model,
 * the writer and the programs alone. So it runs in a slow guest, too.
 */
export class DirectPolicyLab implements CaseLab {
  readonly platform: Platform = nodePlatform(() => {});
  readonly lab: Lab;
  readonly nodes: readonly DirectNode[];
  readonly #kind: 'veth' | 'netkit';
  readonly #pods = new Map<string, { spec: PodSpec; readonly host: LabHost }>();
  /** The last address of each node. */
  readonly #last = new Map<LabNode, number>();
  readonly #opened: Disposable[] = [];

  constructor(name: string, path: NodePath = 'direct', kind: 'veth' | 'netkit' = 'veth') {
    this.#kind = kind;
    this.lab = createLab(this.platform, {
      ...{ name: `${name}-${process.pid}`, nodes: 2, podRoutes: false },
      ...(path === 'tunnel' && { farFrom: 2 }),
    });
    try {
      this.nodes = this.lab.nodes.map((node) => this.#open(node));
      for (const each of this.nodes) this.#programPath(each, path);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
    this.change({ put: this.lab.nodes.map((node) => nodeObject(node)) });
  }

  get podNames(): readonly string[] {
    return [...this.#pods.keys()];
  }

  hostOf(key: string): LabHost {
    const pod = this.#pods.get(key);
    if (!pod) throw new Error(`find pod ${key}: the lab has none`);
    return pod.host;
  }

  specOf(key: string): PodSpec | undefined {
    return this.#pods.get(key)?.spec;
  }

  async connect(spec: PodSpec, address?: string): Promise<LabHost> {
    const node = this.lab.nodes[spec.node - 1]!;
    this.change({ put: [podObject(spec)] });
    const last = address === undefined ? this.#last.get(node)! + 1 : Number(address.split('.')[3]);
    let host: LabHost = node;
    if (!spec.hostNetwork) {
      this.#last.set(node, last);
      host = await this.lab.addPodBy(
        this.#plugin(node, last, spec),
        node,
        `${spec.namespace}-${spec.name}`,
      );
    }
    this.#pods.set(podKey(spec), { spec, host });
    this.change({ put: [podObject(spec, host.addresses)] });
    return host;
  }

  async disconnect(key: string): Promise<void> {
    const pod = this.#pods.get(key);
    if (!pod) return;
    this.#pods.delete(key);
    const { node, datapath } = this.nodes[pod.spec.node - 1]!;
    const lost = node.pods.find((each) => each === pod.host);
    if (lost) {
      const { v4, v6 } = lost.addresses;
      const { index } = node.link(lost.nodeLink);
      node.enter(() => datapath.pods.remove(index));
      datapath.policy!.detach([v4, v6]);
      await this.lab.removePodBy(
        { add: async () => lost.connection!, remove: async () => {} },
        lost,
      );
    }
    this.change({ remove: [podObject(pod.spec)] });
  }

  relabelled(key: string, labels: PodSpec['labels']): ManifestObject {
    const pod = this.#pods.get(key)!;
    pod.spec = { ...pod.spec, labels };
    return podObject(pod.spec, pod.host.addresses);
  }

  change(change: ObjectsChange): void {
    this.program(changesOf(change));
  }

  /** Programs changes of objects at all nodes. */
  program(changes: readonly ObjectChange[]): void {
    for (const { model, datapath } of this.nodes) {
      datapath.policy!.take(model.apply(changes));
      datapath.policy!.program();
    }
  }

  async apply(change: ObjectsChange = {}): Promise<void> {
    this.change(change);
  }

  drops(): number {
    const texts = policyReasons.map(dropReasonText);
    return this.nodes
      .flatMap(({ datapath }) => datapath.drops.counts())
      .filter(({ reason }) => texts.includes(reason))
      .reduce((sum, { count }) => sum + count, 0);
  }

  [Symbol.dispose](): void {
    for (const each of this.#opened.splice(0)) each[Symbol.dispose]();
    this.lab.remove();
  }

  #plugin(node: LabNode, last: number, spec: PodSpec): PodPlugin {
    const { datapath } = this.nodes[spec.node - 1]!;
    const hex = (number: number) => number.toString(16).padStart(2, '0');
    const nodeLink = `pod${last}`;
    const addresses = {
      v4: `10.244.${node.number}.${last}`,
      v6: `fd00:10:244:${node.number}::${last.toString(16)}`,
    };
    return {
      add: async (pod) => {
        using namespace = pod.openNamespace();
        node.enter(() => {
          using socket = new NetlinkSocket(this.platform);
          const settings = {
            ...{ name: nodeLink, kind: this.#kind, podName: 'eth0', mtu: 1450 },
            podMac: `02:00:0a:f4:${hex(node.number)}:${hex(last)}`,
            addresses: ends.map((end) => ({
              address: addresses[end],
              source: node.addresses[end],
            })),
          };
          createPodInterface(this.platform, socket, namespace, settings, ({ link, peer }) => {
            datapath.pods.set({
              ...{ ifindex: link.index, kind: this.#kind, mac: peer.address, mtu: 1450 },
              addresses: [addresses.v4, addresses.v6],
            });
          });
          datapath.policy!.attach({ pod: podKey(spec), uid: '' }, [addresses.v4, addresses.v6]);
        });
        return { nodeLink, addresses };
      },
      remove: async () => {},
    };
  }

  #open(node: LabNode): DirectNode {
    const datapath = openNodeDatapath(this.platform, node, 65_536);
    this.#opened.push(datapath);
    const { v4, v6 } = node.addresses;
    node.enter(() => datapath.setNode([node.link('eth0')], [v4, v6, ...routersOf(node)]));
    datapath.policy!.enable(false, 'none');
    datapath.policy!.setComplete();
    datapath.policy!.activate();
    this.#last.set(node, 1);
    return { node, datapath, model: new PolicyModel({ nodeName: node.name }) };
  }

  #programPath({ node, datapath: { nodeRoutes } }: DirectNode, path: NodePath): void {
    const other = this.lab.nodes.find((each) => each !== node)!;
    const single = (each: LabNode) => [`${each.addresses.v4}/32`, `${each.addresses.v6}/128`];
    nodeRoutes.setMasquerade({
      ...{ ipv4: true, ipv6: false },
      exclusions: [
        ...this.lab.nodes.flatMap(rangesOf),
        ...(path === 'direct' ? single(other) : []),
      ],
      always: path === 'tunnel' ? single(other) : [],
    });
    node.enter(() => {
      node.configure((socket) => {
        const { mtu, index } = findLink(socket, 'eth0')!;
        const device =
          path === 'tunnel'
            ? ensureTunnelDevice(this.platform, socket, {
                ...{ port: 8472, mtu: mtu - 50, addresses: routersOf(node) },
              })
            : undefined;
        if (device) {
          nodeRoutes.setTunnel({
            ...{ device, addresses: [node.addresses.v4], sources: routersOf(node), id: tunnelId },
            mtu: { ipv4: mtu - 50, ipv6: mtu - 50 },
          });
        }
        const paths = ends.map((end, i): RoutePath => {
          const common = { family: families[end], reason: 'the lab wants it' } as const;
          if (!device) return { ...common, mode: 'direct', via: other.addresses[end], link: index };
          return {
            ...{ ...common, mode: 'tunnel', via: other.addresses.v4, link: device.index },
            ...{ from: node.addresses.v4, source: routersOf(node)[i]! },
          };
        });
        const ranges = rangesOf(other);
        const addresses = [other.addresses.v4, other.addresses.v6];
        nodeRoutes.set({ key: other.name, addresses, paths, problems: [], ranges });
        const kernel = ranges.map((range, i) => kernelRoute(range, paths[i]!));
        new NodeRoutes().set(socket, other.name, kernel);
      });
    });
  }
}

/** Returns the addresses of a node in tunnels. */
function routersOf({ number }: LabNode): string[] {
  return [`10.244.${number}.1`, `fd00:10:244:${number}::1`];
}

const kinds: Readonly<Record<string, string>> = {
  NetworkPolicy: 'networkPolicy',
  ClusterNetworkPolicy: 'clusterNetworkPolicy',
  Pod: 'pod',
  Namespace: 'namespace',
};

/** Reads a change of objects. Throws an Error for an invalid one. */
export function changesOf({ put = [], remove = [] }: ObjectsChange): ObjectChange[] {
  const removed = remove.map(({ kind, metadata: { name, namespace = '' } }): ObjectChange => {
    return { op: 'delete', kind: kinds[kind]!, namespace, name };
  });
  const set = put.flatMap((object): ObjectChange[] => {
    const read = policyReader.read(object);
    if ('record' in read) return [{ op: 'set', object: read.record }];
    if (read.kind === 'ignored') return [];
    throw new Error(`read ${object.kind} ${object.metadata.name}: ${JSON.stringify(read)}`);
  });
  return [...removed, ...set];
}
