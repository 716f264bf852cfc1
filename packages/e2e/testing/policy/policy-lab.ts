import type { ServiceDetail } from '@heddle/agent';
import { currentPins } from '@heddle/datapath';
import { BpfMap, LinuxBpf } from '@heddle/ebpf';
import type { Addresses, LabHost, LabNode, LabPod } from '@heddle/lab';
import {
  type ManifestObject,
  type NetworkLabOptions,
  NodeNetworkLab,
} from '../node-network-lab.ts';

export interface ContainerPort {
  readonly name: string;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly containerPort: number;
  readonly hostPort?: number;
}

/** A pod as a test describes it. */
export interface PodSpec {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The number of its node, from 1. */
  readonly node: number;
  readonly ports: readonly ContainerPort[];
  /** It has the addresses of its node, and no interface. */
  readonly hostNetwork?: boolean;
}

/** The path of packets between the two nodes. */
export type NodePath = 'direct' | 'tunnel';

/** `dropReason` numbers of denials: by a rule, by default, and as the flow table is full. */
export const policyReasons = [181, 133, 155];

export const podKey = ({
  namespace,
  name,
}: {
  readonly namespace: string;
  readonly name: string;
}) => `${namespace}/${name}`;

/** Two nodes with agents whose pods come from the CNI plug-in, and objects of network policies in their manifests. */
export class PolicyLab extends NodeNetworkLab {
  readonly #bpf: LinuxBpf;
  readonly #pods = new Map<string, { spec: PodSpec; readonly host: LabPod | LabNode }>();
  #revision = 0;
  /** Runs after `apply` has written a change, while the agents read it. */
  afterChange: () => Promise<void> = async () => {};

  constructor(name: string, path: NodePath = 'direct', options: NetworkLabOptions = {}) {
    super(name, { hasPods: false, ...(path === 'tunnel' && { farFrom: 2 }), ...options });
    this.#bpf = new LinuxBpf(this.platform);
  }

  /** The names of all pods, `namespace/name`. */
  get podNames(): readonly string[] {
    return [...this.#pods.keys()];
  }

  /** Returns the host of a pod. Throws an Error when there is none. */
  hostOf(key: string): LabHost {
    const pod = this.#pods.get(key);
    if (!pod) throw new Error(`find pod ${key}: the lab has none`);
    return pod.host;
  }

  specOf(key: string): PodSpec | undefined {
    return this.#pods.get(key)?.spec;
  }

  /**
   * Creates a Pod object, connects the pod as a container runtime does, and adds its addresses to the object. The pod
   * gets the IPv4 address `address` if it is given, which must come after those that the node has given last. `before`
   * gets the pod while it has loopback only.
   */
  async connect(spec: PodSpec, address?: string, before?: (pod: LabPod) => void): Promise<LabHost> {
    this.change({ put: [podObject(spec)] });
    const node = this.node(spec.node);
    if (spec.hostNetwork) this.#pods.set(podKey(spec), { spec, host: node });
    else {
      // The agent gives addresses in turn, so that a new pod gets the next one.
      for (let tries = 0; ; tries++) {
        const host = await this.addPod(node, spec, before);
        if (address === undefined || host.addresses.v4 === address) {
          this.#pods.set(podKey(spec), { spec, host });
          break;
        }
        if (tries === 250) throw new Error(`connect pod ${podKey(spec)}: ${address} never comes`);
        await this.removePod(host);
      }
    }
    const { host } = this.#pods.get(podKey(spec))!;
    this.change({ put: [podObject(spec, host.addresses)] });
    return host;
  }

  /** Disconnects a pod, and removes its object. */
  async disconnect(key: string): Promise<void> {
    const pod = this.#pods.get(key);
    if (!pod) return;
    this.#pods.delete(key);
    if (!pod.spec.hostNetwork) await this.removePod(pod.host as LabPod);
    this.change({ remove: [podObject(pod.spec)] });
  }

  /** Returns the object of a pod with other labels, which the lab keeps. */
  relabelled(key: string, labels: PodSpec['labels']): ManifestObject {
    const pod = this.#pods.get(key)!;
    pod.spec = { ...pod.spec, labels };
    return podObject(pod.spec, pod.host.addresses);
  }

  /** Changes objects in one step, and resolves when all nodes have programmed the change. */
  async apply(change: Parameters<NodeNetworkLab['change']>[0] = {}): Promise<void> {
    const revision = 1 + (this.#revision++ % 60_000);
    this.change({ ...change, put: [...(change.put ?? []), revisionObject(revision)] });
    await this.afterChange();
    for (const node of this.lab.nodes) await this.#programmed(node, revision);
  }

  /** Returns the number of packets that policies have dropped at all nodes. */
  drops(): number {
    let sum = 0;
    for (const node of this.lab.nodes) {
      using map = BpfMap.openPinned(this.#bpf, `${currentPins(node.bpffs).maps}/drops`);
      for (const reason of policyReasons) {
        const values = map.lookup(new Uint8Array(Uint32Array.of(reason).buffer));
        const counts = new BigUint64Array(values!.slice().buffer);
        sum += Number(counts.reduce((total, count) => total + count, 0n));
      }
    }
    return sum;
  }

  /** A change of several objects arrives as one, so an agent that has the service has all of it. */
  async #programmed(node: LabNode, revision: number): Promise<void> {
    await this.until(`${node.name} to program revision ${revision}`, async () => {
      const rows = (await this.request(node, 'service.get', { service: 'default/revision' }).catch(
        () => ({ items: [] }),
      )) as { items: ServiceDetail[] };
      const isThere = rows.items.some(({ frontends }) =>
        frontends.some(({ port }) => port === revision),
      );
      return isThere && (await this.status(node)).rows.pending === 0;
    });
  }
}

/** Returns a Pod object; without addresses it does not run yet. */
export function podObject(spec: PodSpec, addresses?: Addresses): ManifestObject {
  const { namespace, name, labels, node, ports, hostNetwork = false } = spec;
  const ips = addresses && [addresses.v4, addresses.v6].map((ip) => ({ ip }));
  const object = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace, name, labels, uid: `${namespace}-${name}` },
    spec: { nodeName: `node${node}`, hostNetwork, containers: [{ name: 'main', ports }] },
    status: {
      phase: ips ? 'Running' : 'Pending',
      ...(ips && { podIP: ips[0]!.ip, podIPs: ips }),
    },
  };
  return object;
}

export function namespaceObject(
  name: string,
  labels: Readonly<Record<string, string>>,
): ManifestObject {
  const metadata = { name, labels: { 'kubernetes.io/metadata.name': name, ...labels } };
  const object = { apiVersion: 'v1', kind: 'Namespace', metadata };
  return object;
}

function revisionObject(revision: number): ManifestObject {
  const object = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'default', name: 'revision' },
    spec: { clusterIP: '10.96.255.254', ports: [{ port: revision, protocol: 'TCP' }] },
  };
  return object;
}
