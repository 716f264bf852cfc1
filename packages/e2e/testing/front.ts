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
import { Cluster } from './cluster.ts';
import { endpoint, service, slice } from './objects.ts';
import { kinds } from './site.ts';

export const ends = ['v4', 'v6'] as const;
export type End = (typeof ends)[number];
export const protocols = ['TCP', 'UDP'] as const;
export type Protocol = (typeof protocols)[number];

/** What silence is taken for: whoever answers does so within a few milliseconds. */
const silenceMs = 300;

/** What pods serve; a service has the same names. */
const targets = { tcp: 8080, udp: 8080, echo: 8081, http: 8082 } as const;
export type PortName = keyof typeof targets;
const protocolOf = (port: PortName): Protocol => (port === 'udp' ? 'UDP' : 'TCP');

export const ready = { ready: true, serving: true, terminating: false };
export const draining = { ready: false, serving: true, terminating: true };
export const starting = { ready: false, serving: false, terminating: false };

/** A pod, also with other conditions than ready; `host` is an endpoint on the host network. */
export type Wanted = LabHost | readonly [pod: LabHost, conditions: object];

/**
 * A cluster as clients outside see it: on the first node the agent and pods, on another one pods that
 * the first one's services lead to, beyond a router two hosts. Whoever answers says its name.
 */
export class Front implements Disposable {
  readonly product: Cluster;
  /** The agent's node, and another one, on which is no agent. */
  readonly node: LabNode;
  readonly elsewhere: LabNode;
  readonly client: LabHost;
  readonly other: LabHost;
  #services = 0;

  private constructor(product: Cluster) {
    this.product = product;
    const { nodes, outside } = product.lab;
    [this.node, this.elsewhere] = nodes as [LabNode, LabNode];
    [this.client, this.other] = outside as [LabHost, LabHost];
    for (const node of nodes) node.sendEachIcmpError();
  }

  static async open(name: string, ...agentArgs: readonly string[]): Promise<Front> {
    const product = await Cluster.open(name, { nodes: 2, podsPerNode: 3, outside: 2 });
    try {
      const { tcp, udp, echo, http } = targets;
      const ports = { tcp: [tcp], udp: [udp], echo: [echo], http: [http] };
      await Promise.all([
        product.start(...agentArgs),
        ...product.lab.pods.map((pod) => startBackend(pod, ports)),
      ]);
      return new Front(product);
    } catch (error) {
      product[Symbol.dispose]();
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

  /** A name and addresses for a service; what is for its load balancer's address comes to this node. */
  expose(name: string): Exposed {
    const exposed = new Exposed(this, name, ++this.#services);
    for (const end of ends) {
      this.product.lab.routeTo(this.node, exposed.balancer(end));
      this.product.lab.routeTo(this.node, exposed.external(end));
    }
    return exposed;
  }

  [Symbol.dispose](): void {
    this.product[Symbol.dispose]();
  }
}

export interface ServiceOptions {
  readonly spec?: object;
  /** Default: LoadBalancer, which then has its addresses. */
  readonly type?: 'ClusterIP' | 'NodePort' | 'LoadBalancer';
  /** Ports that it has, each with its NodePort if that isn't the usual one. Default: all. */
  readonly ports?: Partial<Record<PortName, number | undefined>>;
}

/** A service of both families, before pods that change. */
export class Exposed {
  readonly #front: Front;
  readonly #number: number;
  readonly name: string;

  constructor(front: Front, name: string, number: number) {
    this.#front = front;
    this.name = name;
    this.#number = number;
  }

  clusterIP(end: End): string {
    return end === 'v4' ? `10.96.7.${this.#number}` : `fd00:96::7:${this.#number}`;
  }

  balancer(end: End): string {
    return end === 'v4' ? `198.51.100.${this.#number}` : `fd00:198:51:100::${this.#number}`;
  }

  external(end: End): string {
    const number = 100 + this.#number;
    return end === 'v4' ? `198.51.100.${number}` : `fd00:198:51:100::${number}`;
  }

  /** Its own number of a port: TCP and UDP share one. */
  port(port: PortName): number {
    return { tcp: 80, udp: 80, echo: 81, http: 82 }[port];
  }

  nodePort(port: PortName): number {
    return 30_000 + 100 * this.#number + this.port(port);
  }

  /** Where it is reached by way of a node. */
  onNode(end: End, port: PortName, node: LabNode = this.#front.node): SocketAddress {
    return { address: node.addresses[end], port: this.nodePort(port) };
  }

  at(address: string, port: PortName): SocketAddress {
    return { address, port: this.port(port) };
  }

  /** Every way in from outside, with a name for messages. */
  waysIn(end: End, port: PortName): { readonly way: string; readonly to: SocketAddress }[] {
    return [
      { way: 'NodePort', to: this.onNode(end, port) },
      { way: 'load balancer', to: this.at(this.balancer(end), port) },
    ];
  }

  /** Puts the service with these pods behind it into force. Throws an Error when it can't be. */
  async write(wanted: readonly Wanted[], options: ServiceOptions = {}): Promise<void> {
    const { product } = this.#front;
    await product.apply(...this.objects(wanted, options));
    const failed = (await product.service(this.name)).find(({ status }) => status === 'failed');
    if (failed) throw new Error(`write service ${this.name}: ${failed.reason}`);
  }

  objects(wanted: readonly Wanted[], options: ServiceOptions = {}) {
    const { spec = {}, type = 'LoadBalancer' } = options;
    const names = Object.keys(options.ports ?? targets) as PortName[];
    const ingress = type === 'LoadBalancer' ? ends.map((end) => ({ ip: this.balancer(end) })) : [];
    const web = service(
      this.name,
      ends.map((end) => this.clusterIP(end)),
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
    const slices = ends.map((end) =>
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
    await this.#front.product.remove('Service', this.name);
  }
}

/** Not among those that the node takes for translated packets, which its own processes leave alone. */
let nextPort = 33_000;

/** As askUdp, from a port that was not used before: with the same one a flow would go on. */
function askAnew(from: LabHost, to: SocketAddress): string {
  const family = to.address.includes(':') ? 6 : 4;
  const options = { protocol: 'udp', family, timeoutMs: silenceMs } as const;
  using socket = from.enter(() => BlockingSocket.open(from.platform, options));
  socket.bind({ address: family === 4 ? '0.0.0.0' : '::', port: nextPort++ });
  socket.connect(to);
  socket.send('who?');
  return decodeUtf8(socket.receive());
}

/** Who answered, or the code of the error; of several tries each that occurred. */
export function answers(from: LabHost, protocol: Protocol, to: SocketAddress, tries = 1): string[] {
  const ask =
    protocol === 'TCP' ? () => askTcp(from, to, 'who?', silenceMs) : () => askAnew(from, to);
  return kinds(
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

/** A client in a pod's network, but out of the node's cgroup: its sockets are nobody's to translate. */
export function machineIn(pod: LabPod, { product }: Front): LabHost {
  const { name, netnsPath, addresses, platform } = pod;
  return new LabHost(platform, { name, netnsPath, addresses, cgroup: product.lab.underlay.cgroup });
}

/** Address of the client, as the backend sees it. */
export function clientSeen(from: LabHost, to: SocketAddress): string {
  const { client } = JSON.parse(askHttp(from, to, '/client')) as { client: string };
  return client.slice(0, client.lastIndexOf(':')).replace(/^\[(.*)\]$/, '$1');
}

export const namesOf = (...places: readonly LabHost[]): string[] =>
  places.map(({ name }) => name).sort();

export const refused = ['ECONNREFUSED'];
/** Nobody answers, which tells a load balancer nothing. */
export const silence = ['ETIMEDOUT'];
