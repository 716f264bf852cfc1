import { BpfMap, LinuxBpf } from '@heddle/ebpf';
import {
  createLab,
  type Lab,
  type LabNode,
  type LabOptions,
  type LabPod,
  startBackend,
} from '@heddle/lab';
import { type Forwarding, type ObjectChange, readObject, type ServiceInput } from '@heddle/objects';
import { ServiceModel } from '@heddle/services';
import type { Platform } from '@heddle/sys';
import type { SocketAddress } from '@heddle/sys/net';
import { nodePlatform } from '@heddle/sys/node';
import { currentPins } from '../src/core/pinned-maps.ts';
import { type Datapath, openDatapath } from '../src/datapath.ts';
import type { DatapathOptions } from '../src/datapath-options.ts';
import type { ProgrammedPod } from '../src/pods/pod-tables.ts';
import { testNat } from './nat.ts';
import { objects, sizes } from './world.ts';

type Fields = Readonly<Record<string, unknown>>;
export type End = 'v4' | 'v6';

/** The ports of every service. Each pod serves all except SCTP, for which these tests have no sockets. */
const ports = {
  http: { protocol: 'TCP', port: 80, targetPort: 8080 },
  echo: { protocol: 'TCP', port: 81, targetPort: 8081 },
  udp: { protocol: 'UDP', port: 83, targetPort: 8083 },
  sctp: { protocol: 'SCTP', port: 84, targetPort: 8084 },
} as const;
export type PortName = keyof typeof ports;
const portNames = Object.keys(ports) as PortName[];

/** A pod, or one with conditions as EndpointSlices have them. */
type ServedPod =
  | LabPod
  | { readonly pod: LabPod; readonly conditions?: Fields; readonly nodeName?: string };

/** The options of a test's service. Absent ones have the API server's defaults. */
export interface ServiceOptions {
  readonly pods: readonly ServedPod[];
  readonly spec?: Fields;
  readonly annotations?: Readonly<Record<string, string>>;
  /** The target port in the pods, if it is not the default one. */
  readonly targetPorts?: Readonly<Partial<Record<PortName, number>>>;
  /** Addresses of status.loadBalancer.ingress. */
  readonly ingress?: readonly string[];
}

/** The addresses and ports of a service. */
export class Served {
  readonly number: number;

  constructor(number: number) {
    this.number = number;
  }

  get name(): string {
    return `service-${this.number}`;
  }

  clusterIP(end: End): string {
    return end === 'v4' ? `10.96.0.${this.number}` : `fd00:10:96::${this.number}`;
  }

  /** Returns the socket address of a port at the ClusterIP, or at another address with the service's own ports. */
  at(port: PortName, address: string): SocketAddress {
    return { address, port: ports[port].port };
  }

  nodePort(port: PortName, node: LabNode, end: End): SocketAddress {
    return { address: node.addresses[end], port: this.nodePortNumber(port) };
  }

  nodePortNumber(port: PortName): number {
    return 30_000 + 100 * this.number + ports[port].port;
  }
}

/**
 * A cluster in which each node has a datapath and a model with the same objects: the agents of a cluster without their
 * processes. Pods run backend-server.ts of the lab.
 */
export class Cluster implements Disposable {
  readonly platform: Platform = nodePlatform(() => {});
  readonly lab: Lab;
  readonly #bpf = new LinuxBpf(this.platform);
  #options: Partial<DatapathOptions>;
  /** Programs at the other ends of the nodes' interfaces, if a test attached some. The cluster removes them. */
  ports: Disposable | undefined;
  readonly #datapaths = new Map<LabNode, Datapath>();
  readonly #models = new Map<LabNode, ServiceModel>();
  /** The objects of the API server, by kind and name. */
  readonly #objects = new Map<string, ObjectChange<ServiceInput>>();
  #services = 0;
  #servesPods = false;

  /** `forwarding`: what the agents' configuration says. */
  constructor(
    lab: LabOptions,
    options: Partial<DatapathOptions> = {},
    forwarding: Forwarding = 'snat',
  ) {
    this.#options = options;
    this.lab = createLab(this.platform, { ...lab, name: `${lab.name}-${process.pid}` });
    try {
      for (const node of this.lab.nodes) {
        this.#models.set(node, modelOf(node, forwarding));
        this.#datapaths.set(node, this.#open(node));
      }
      this.#apply(this.lab.nodes.map((node) => changeOf(nodeObject(node))));
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Has all pods serve. */
  async start(): Promise<void> {
    const { http, echo, udp } = ports;
    const served = { http: [http.targetPort], echo: [echo.targetPort], udp: [udp.targetPort] };
    await Promise.all(this.lab.pods.map((pod) => startBackend(pod, served)));
  }

  datapath(node: LabNode): Datapath {
    return this.#datapaths.get(node)!;
  }

  /** Programs a new service on all nodes. */
  serve(options: ServiceOptions): Served {
    const service = new Served(++this.#services);
    this.change(service, options);
    return service;
  }

  /** Programs another version of a service. Throws when a row of it fails. */
  change(service: Served, options: ServiceOptions): void {
    this.#apply(objectsOf(service, options).map(changeOf));
  }

  remove({ name }: Served): void {
    this.#apply([
      { op: 'delete', kind: 'service', namespace: 'default', name },
      ...(['v4', 'v6'] as const).map(
        (end) =>
          ({ op: 'delete', kind: 'slice', namespace: 'default', name: `${name}-${end}` }) as const,
      ),
    ]);
  }

  /** Opens a new datapath on the node with these options, as if the agent before was killed. */
  restart(
    node: LabNode,
    options: Partial<DatapathOptions> = this.#options,
    forwarding?: Forwarding,
  ): void {
    this.datapath(node)[Symbol.dispose]();
    if (forwarding !== undefined) {
      const model = modelOf(node, forwarding);
      model.apply([...this.#objects.values()]);
      this.#models.set(node, model);
    }
    this.#options = options;
    const datapath = this.#open(node);
    this.#datapaths.set(node, datapath);
    const model = this.#models.get(node)!;
    datapath.nat.setTunnelEnds(model.tunnelEnds);
    const rows = [...model.rows()];
    for (const error of datapath.services.update(rows)) if (error) throw error;
    datapath.services.prune(rows);
  }

  /** Has all nodes translate at the interfaces of their pods, too. */
  servePods(): void {
    this.#servesPods = true;
    for (const node of this.lab.nodes) this.#setNode(node, this.datapath(node));
  }

  /** Everybody forgets what they have learnt of narrow paths. */
  forgetPaths(): void {
    for (const place of this.lab.hosts) {
      for (const family of ['ipv4', 'ipv6']) place.setSysctl(`net/${family}/route/flush`, 1);
    }
    for (const { bpffs } of this.lab.nodes) {
      using narrow = BpfMap.openPinned(this.#bpf, `${currentPins(bpffs).maps}/narrow_paths`);
      for (const key of [...narrow.keys()]) narrow.delete(key);
    }
  }

  [Symbol.dispose](): void {
    for (const datapath of this.#datapaths.values()) datapath[Symbol.dispose]();
    this.ports?.[Symbol.dispose]();
    this.lab.remove();
  }

  #apply(changes: readonly ObjectChange<ServiceInput>[]): void {
    for (const change of changes) {
      const ref = change.op === 'set' ? change.object : change;
      const key = `${ref.kind} ${ref.name}`;
      if (change.op === 'set') this.#objects.set(key, change);
      else this.#objects.delete(key);
    }
    for (const node of this.lab.nodes) {
      const model = this.#models.get(node)!;
      const { upserted, removed } = model.apply(changes);
      const datapath = this.datapath(node);
      datapath.nat.setTunnelEnds(model.tunnelEnds);
      const errors = [...datapath.services.update(upserted), ...datapath.services.remove(removed)];
      for (const error of errors) if (error) throw error;
    }
  }

  #open(node: LabNode): Datapath {
    const datapath = openDatapath({
      platform: this.platform,
      bpf: this.#bpf,
      objects,
      bpffs: node.bpffs,
      cgroup: node.cgroup,
      sizes,
      netnsCookie: node.netnsCookie,
      nat: testNat,
      options: { terminateTcp: false },
      ...this.#options,
    });
    this.#setNode(node, datapath);
    return datapath;
  }

  #setNode(node: LabNode, datapath: Datapath): void {
    const { v4, v6 } = node.addresses;
    const isNetwork = this.#options.network !== undefined;
    const pods = this.#servesPods && !isNetwork ? node.pods : [];
    const devices = [
      node.link('eth0'),
      ...pods.map(({ nodeLink }) => ({ ...node.link(nodeLink), pods: true })),
    ];
    node.enter(() => datapath.setNode(devices, [v4, v6]));
    if (!isNetwork) return;
    for (const pod of node.pods) {
      const programmed = programmedPod(pod);
      node.enter(() => datapath.pods.set(programmed));
    }
  }
}

/** Returns a pod as an agent programs it. */
export function programmedPod(pod: LabPod): ProgrammedPod {
  const { address: mac, mtu } = pod.link('eth0');
  const { v4, v6 } = pod.addresses;
  const { index: ifindex, kind } = pod.node.link(pod.nodeLink);
  return { ifindex, kind: kind === 'netkit' ? 'netkit' : 'veth', mac, addresses: [v4, v6], mtu };
}

function modelOf(node: LabNode, forwarding: Forwarding): ServiceModel {
  const { v4, v6 } = node.addresses;
  const ownAddresses = ['127.0.0.1', '::1', v4, v6];
  return new ServiceModel({ nodeName: node.name, ownAddresses, forwarding });
}

/** Returns an address as a kubelet reports it. */
function nodeObject({ name, addresses: { v4, v6 } }: LabNode) {
  const addresses = [v4, v6].map((address) => ({ type: 'InternalIP', address }));
  return { apiVersion: 'v1', kind: 'Node', metadata: { name }, status: { addresses } };
}

function changeOf(object: unknown): ObjectChange<ServiceInput> {
  const read = readObject(object);
  if ('record' in read) return { op: 'set', object: read.record };
  throw new Error(`read object: ${JSON.stringify(read)}`);
}

/** Returns a Service of both families and its EndpointSlices, as an API server gives them. */
function objectsOf(service: Served, options: ServiceOptions) {
  const { pods, spec, annotations, targetPorts = {}, ingress = [] } = options;
  const { name } = service;
  const ends = ['v4', 'v6'] as const;
  const clusterIPs = ends.map((end) => service.clusterIP(end));
  const metadata = { name, namespace: 'default' };
  const endpointOf = (served: ServedPod, end: End) => {
    const {
      pod,
      conditions = {},
      nodeName = pod.node.name,
    } = 'pod' in served ? served : { pod: served };
    return {
      addresses: [pod.addresses[end]],
      nodeName,
      conditions: { ready: true, serving: true, terminating: false, ...conditions },
    };
  };
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { ...metadata, annotations },
      spec: {
        type: ingress.length > 0 ? 'LoadBalancer' : 'NodePort',
        clusterIP: clusterIPs[0],
        clusterIPs,
        ipFamilies: ['IPv4', 'IPv6'],
        ipFamilyPolicy: 'RequireDualStack',
        ports: portNames.map((port) => ({
          name: port,
          ...ports[port],
          nodePort: service.nodePortNumber(port),
        })),
        ...spec,
      },
      status: { loadBalancer: { ingress: ingress.map((ip) => ({ ip })) } },
    },
    ...ends.map((end) => ({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: {
        ...metadata,
        name: `${name}-${end}`,
        labels: { 'kubernetes.io/service-name': name },
      },
      addressType: end === 'v4' ? 'IPv4' : 'IPv6',
      ports: portNames.map((port) => ({
        name: port,
        protocol: ports[port].protocol,
        port: targetPorts[port] ?? ports[port].targetPort,
      })),
      endpoints: pods.map((pod) => endpointOf(pod, end)),
    })),
  ];
}
