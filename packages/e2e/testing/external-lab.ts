import {
  askHttp,
  askTcp,
  BlockingSocket,
  LabHost,
  type LabNode,
  type LabPod,
  startBackend,
} from '@heddle/lab';
import { decodeUtf8, SysError } from '@heddle/sys';
import type { SocketAddress } from '@heddle/sys/net';
import { ClusterLab } from './cluster-lab.ts';
import { endpoint, service, slice } from './objects.ts';
import { distinct } from './service-lab.ts';

export const ipVersions = ['v4', 'v6'] as const;
export type IpVersion = (typeof ipVersions)[number];
export const protocols = ['TCP', 'UDP'] as const;
export type Protocol = (typeof protocols)[number];

/** The timeout after which a request counts as unanswered. Replies take a few milliseconds. */
const noReplyMs = 300;

/** The ports of all pods; services use the same port names. */
const targets = { tcp: 8080, udp: 8080, echo: 8081, http: 8082 } as const;
export type PortName = keyof typeof targets;
const protocolOf = (port: PortName): Protocol => (port === 'udp' ? 'UDP' : 'TCP');

export const ready = { ready: true, serving: true, terminating: false };
export const draining = { ready: false, serving: true, terminating: true };
export const starting = { ready: false, serving: false, terminating: false };

/** A ready pod (or a node for the host network), or one with other conditions. */
export type EndpointSpec = LabHost | readonly [pod: LabHost, conditions: object];

/**
 * A cluster with external clients: two nodes with pods, the agent on the first node, and two hosts
 * beyond a router. Each pod replies with its name.
 */
export class ExternalLab implements Disposable {
  readonly agentLab: ClusterLab;
  /** The agent's node, and another node without an agent. */
  readonly node: LabNode;
  readonly elsewhere: LabNode;
  readonly client: LabHost;
  readonly other: LabHost;
  #services = 0;

  private constructor(agentLab: ClusterLab) {
    this.agentLab = agentLab;
    const { nodes, outside } = agentLab.lab;
    [this.node, this.elsewhere] = nodes as [LabNode, LabNode];
    [this.client, this.other] = outside as [LabHost, LabHost];
    for (const node of nodes) node.sendEachIcmpError();
  }

  static async open(name: string, ...agentArgs: readonly string[]): Promise<ExternalLab> {
    const agentLab = await ClusterLab.open(name, { nodes: 2, podsPerNode: 3, outside: 2 });
    try {
      const { tcp, udp, echo, http } = targets;
      const ports = { tcp: [tcp], udp: [udp], echo: [echo], http: [http] };
      await Promise.all([
        agentLab.start(...agentArgs),
        ...agentLab.lab.pods.map((pod) => startBackend(pod, ports)),
      ]);
      return new ExternalLab(agentLab);
    } catch (error) {
      agentLab[Symbol.dispose]();
      throw error;
    }
  }

  /** Pods of the agent's node. */
  get here(): readonly LabPod[] {
    return this.node.pods;
  }

  /** Pods of the other node. */
  get there(): readonly LabPod[] {
    return this.elsewhere.pods;
  }

  /**
   * Reserves addresses for a service and routes its load balancer and external addresses to the
   * agent's node.
   */
  expose(name: string): ExposedService {
    const exposed = new ExposedService(this, name, ++this.#services);
    for (const end of ipVersions) {
      this.agentLab.lab.routeTo(this.node, exposed.balancer(end));
      this.agentLab.lab.routeTo(this.node, exposed.external(end));
    }
    return exposed;
  }

  [Symbol.dispose](): void {
    this.agentLab[Symbol.dispose]();
  }
}

export interface ServiceOptions {
  readonly spec?: object;
  /** Default: LoadBalancer, with its addresses. */
  readonly type?: 'ClusterIP' | 'NodePort' | 'LoadBalancer';
  /**
   * The ports of the service, each with its NodePort or undefined for the default one. Default: all
   * ports.
   */
  readonly ports?: Partial<Record<PortName, number | undefined>>;
}

/** A dual-stack service whose endpoints a test changes. */
export class ExposedService {
  readonly #lab: ExternalLab;
  readonly #number: number;
  readonly name: string;

  constructor(lab: ExternalLab, name: string, number: number) {
    this.#lab = lab;
    this.name = name;
    this.#number = number;
  }

  clusterIP(end: IpVersion): string {
    return end === 'v4' ? `10.96.7.${this.#number}` : `fd00:96::7:${this.#number}`;
  }

  balancer(end: IpVersion): string {
    return end === 'v4' ? `198.51.100.${this.#number}` : `fd00:198:51:100::${this.#number}`;
  }

  external(end: IpVersion): string {
    const number = 100 + this.#number;
    return end === 'v4' ? `198.51.100.${number}` : `fd00:198:51:100::${number}`;
  }

  /** Returns the service's port number; TCP and UDP share one. */
  port(port: PortName): number {
    return { tcp: 80, udp: 80, echo: 81, http: 82 }[port];
  }

  nodePort(port: PortName): number {
    return 30_000 + 100 * this.#number + this.port(port);
  }

  /** Returns the address and NodePort at a node. */
  onNode(end: IpVersion, port: PortName, node: LabNode = this.#lab.node): SocketAddress {
    return { address: node.addresses[end], port: this.nodePort(port) };
  }

  at(address: string, port: PortName): SocketAddress {
    return { address, port: this.port(port) };
  }

  /** Returns the destinations for external clients, each with a name for messages. */
  externalPaths(
    end: IpVersion,
    port: PortName,
  ): { readonly path: string; readonly to: SocketAddress }[] {
    return [
      { path: 'NodePort', to: this.onNode(end, port) },
      { path: 'load balancer', to: this.at(this.balancer(end), port) },
    ];
  }

  /** Applies the service with these endpoints. Throws an Error if a row fails. */
  async write(wanted: readonly EndpointSpec[], options: ServiceOptions = {}): Promise<void> {
    const { agentLab } = this.#lab;
    await agentLab.apply(...this.objects(wanted, options));
    const failed = (await agentLab.service(this.name)).find(({ status }) => status === 'failed');
    if (failed) throw new Error(`write service ${this.name}: ${failed.reason}`);
  }

  objects(wanted: readonly EndpointSpec[], options: ServiceOptions = {}) {
    const { spec = {}, type = 'LoadBalancer' } = options;
    const names = Object.keys(options.ports ?? targets) as PortName[];
    const ingress =
      type === 'LoadBalancer' ? ipVersions.map((end) => ({ ip: this.balancer(end) })) : [];
    const web = service(
      this.name,
      ipVersions.map((end) => this.clusterIP(end)),
      {
        type,
        ipFamilyPolicy: 'RequireDualStack',
        ports: names.map((port) => ({
          name: port,
          port: this.port(port),
          protocol: protocolOf(port),
          ...(type === 'ClusterIP'
            ? {}
            : { nodePort: options.ports?.[port] ?? this.nodePort(port) }),
        })),
        ...spec,
      },
      { status: { loadBalancer: { ingress } } },
    );
    const slices = ipVersions.map((end) =>
      slice(
        this.name,
        wanted.map((each) => {
          const [place, conditions] = 'length' in each ? each : [each, ready];
          const nodeName = 'node' in place ? (place as LabPod).node.name : place.name;
          return endpoint(place.addresses[end], conditions, { nodeName });
        }),
        {
          name: `${this.name}-${end}`,
          addressType: end === 'v4' ? 'IPv4' : 'IPv6',
          ports: names.map((port) => ({
            name: port,
            port: targets[port],
            protocol: protocolOf(port),
          })),
        },
      ),
    );
    return [web, ...slices];
  }

  async remove(): Promise<void> {
    await this.#lab.agentLab.remove('Service', this.name);
  }
}

/** Source ports outside the node's SNAT ports. */
let nextPort = 33_000;

/** Sends a UDP request from a port that was not used before, so that no flow exists. */
function askFromNewPort(from: LabHost, to: SocketAddress): string {
  const family = to.address.includes(':') ? 6 : 4;
  const options = { protocol: 'udp', family, timeoutMs: noReplyMs } as const;
  using socket = from.enter(() => BlockingSocket.open(from.platform, options));
  socket.bind({ address: family === 4 ? '0.0.0.0' : '::', port: nextPort++ });
  socket.connect(to);
  socket.send('who?');
  return decodeUtf8(socket.receive());
}

/**
 * Returns the distinct results of `tries` requests: the name of the pod that replied, or the error
 * code.
 */
export function answers(from: LabHost, protocol: Protocol, to: SocketAddress, tries = 1): string[] {
  const ask =
    protocol === 'TCP' ? () => askTcp(from, to, 'who?', noReplyMs) : () => askFromNewPort(from, to);
  return distinct(
    Array.from({ length: tries }, () => {
      try {
        return ask().split(' ')[0]!;
      } catch (error) {
        if (error instanceof SysError) return error.code;
        throw error;
      }
    }),
  );
}

/**
 * Returns a client in a pod's network namespace but outside the node's cgroup, so that its sockets
 * are not translated.
 */
export function placeOutsideCgroup(pod: LabPod, { agentLab }: ExternalLab): LabHost {
  const { name, netnsPath, addresses, platform } = pod;
  return new LabHost(platform, {
    name,
    netnsPath,
    addresses,
    cgroup: agentLab.lab.underlay.cgroup,
  });
}

/** Returns the client's address that the backend observes. */
export function observedClient(from: LabHost, to: SocketAddress): string {
  const { client } = JSON.parse(askHttp(from, to, '/client')) as { client: string };
  return client.slice(0, client.lastIndexOf(':')).replace(/^\[(.*)\]$/, '$1');
}

export const namesOf = (...places: readonly LabHost[]): string[] =>
  places.map(({ name }) => name).sort();

export const refused = ['ECONNREFUSED'];
/** The result of a request without a reply. */
export const noReply = ['ETIMEDOUT'];
