import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import {
  findLink,
  listNeighbours,
  listRoutes,
  NetlinkSocket,
  type NetworkLink,
  NetworkNamespace,
} from '@heddle/netlink';
import type { Platform } from '@heddle/sys';
import { inCgroup } from './cgroup.ts';
import { type Addresses, podLinkName } from './topology.ts';

/** A host of a lab: a network namespace and a cgroup in which processes can run. */
export class LabHost {
  readonly platform: Platform;
  readonly name: string;
  /** The file on which the network namespace is mounted. */
  readonly netnsPath: string;
  /** The folder of the cgroup. */
  readonly cgroup: string;
  readonly #addresses: Addresses;

  constructor(
    platform: Platform,
    host: { name: string; netnsPath: string; cgroup: string; addresses: Addresses },
  ) {
    this.platform = platform;
    this.name = host.name;
    this.netnsPath = host.netnsPath;
    this.cgroup = host.cgroup;
    this.#addresses = host.addresses;
  }

  get addresses(): Addresses {
    return this.#addresses;
  }

  /**
   * Starts a process on this host without a shell, as node:child_process does. It is in the
   * namespace and the cgroup from its first instruction, and ends with the lab.
   */
  spawn(command: string, args: readonly string[] = [], options: SpawnOptions = {}): ChildProcess {
    return this.enter(() => spawn(command, args, options));
  }

  /**
   * Runs `work`, which must be synchronous, in the namespace and the cgroup. A socket that `work`
   * opens by a system call stays there, and is for the BPF programs a socket of the cgroup. Node.js
   * opens its own sockets later, after `work` has returned: use `spawn` for them.
   */
  enter<Result>(work: () => Result): Result {
    using namespace = this.openNamespace();
    return namespace.enter(() => inCgroup(this.cgroup, work));
  }

  /** Writes a setting of the namespace, e.g. `net/ipv4/ip_forward` below /proc/sys. */
  setSysctl(name: string, value: string | number): void {
    using namespace = this.openNamespace();
    namespace.setSysctl(name, value);
  }

  /** Removes the limits for ICMP errors, by default six in a row to a host and fifty to all hosts. */
  sendEachIcmpError(): void {
    // The masks hold the types that are limited. icmp_ratelimit would leave the limit for all hosts.
    this.setSysctl('net/ipv4/icmp_ratemask', 0);
    this.setSysctl('net/ipv6/icmp/ratemask', '\n');
  }

  /** Returns the network interface with that name. Throws an Error when there is none. */
  link(name: string): NetworkLink {
    const link = this.configure((socket) => findLink(socket, name));
    if (!link) throw new Error(`find network interface ${name} in ${this.name}: there is none`);
    return link;
  }

  /** Link-layer addresses of the frames that leave by the default route: the host's and its router's. */
  get firstHop(): { readonly src: string; readonly dst: string } {
    return this.configure((socket) => {
      const route = listRoutes(socket).find(({ destination }) => destination === '0.0.0.0/0');
      const link = route?.link === undefined ? undefined : findLink(socket, route.link);
      const router = listNeighbours(socket, link?.index).find(
        ({ address }) => address === route?.via,
      );
      if (!link || !router) throw new Error(`find router of ${this.name}: it has none`);
      return { src: link.address, dst: router.lladdr };
    });
  }

  /** Runs `work` with a netlink socket of the namespace, to change links, addresses and routes. */
  configure<Result>(work: (socket: NetlinkSocket) => Result): Result {
    using namespace = this.openNamespace();
    using socket = namespace.enter(() => new NetlinkSocket(this.platform));
    return work(socket);
  }

  /** The cookie by which BPF programs identify the namespace. */
  get netnsCookie(): bigint {
    using namespace = this.openNamespace();
    return namespace.cookie;
  }

  /** Opens the network namespace; the caller closes it. Throws SysError. */
  openNamespace(): NetworkNamespace {
    return NetworkNamespace.open(this.platform, this.netnsPath);
  }
}

/** A node of the cluster. Its agent attaches to `cgroup`. */
export class LabNode extends LabHost {
  readonly number: number;
  /** The folder for the pins of this node, on the lab's bpffs. */
  readonly bpffs: string;
  readonly pods: LabPod[] = [];

  constructor(
    platform: Platform,
    host: ConstructorParameters<typeof LabHost>[1] & { number: number; bpffs: string },
  ) {
    super(platform, host);
    this.number = host.number;
    this.bpffs = host.bpffs;
  }
}

/** The interface and the addresses that a CNI plug-in has given to a pod. */
export interface PodConnection {
  /** The name of the pod interface, the node's end of the pair. */
  readonly nodeLink: string;
  readonly addresses: Addresses;
}

/** A pod. Its cgroup is a child of the cgroup of its node. */
export class LabPod extends LabHost {
  readonly number: number;
  readonly node: LabNode;
  /** Undefined for a pod that the lab has connected itself. */
  connection: PodConnection | undefined;

  constructor(
    platform: Platform,
    host: ConstructorParameters<typeof LabHost>[1] & {
      number: number;
      node: LabNode;
      connection: PodConnection | undefined;
    },
  ) {
    super(platform, host);
    this.number = host.number;
    this.node = host.node;
    this.connection = host.connection;
  }

  override get addresses(): Addresses {
    return this.connection?.addresses ?? super.addresses;
  }

  /** The name of the pod interface, the node's end of the pod's pair. */
  get nodeLink(): string {
    return this.connection?.nodeLink ?? podLinkName(this.number);
  }
}
