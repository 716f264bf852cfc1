import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { deleteNamespace } from '@heddle/netlink';
import { checked, encodeCString, type Platform, syscallNumbers } from '@heddle/sys';
import { cgroupRoot, makeCgroup, removeCgroup } from './cgroup.ts';
import type { PodPlugin } from './cni-plugin.ts';
import { LabHost, LabNode, LabPod, type PodConnection } from './lab-host.ts';
import {
  connectNode,
  connectOutsideHost,
  connectPod,
  createLoopbackNamespace,
  createUnderlay,
  disconnectPod,
  enableRouting,
  routeTo,
} from './network.ts';
import { removeLab, removeStaleLabs } from './removal.ts';
import {
  createFolder,
  type LabState,
  labFolder,
  type NetworkState,
  readState,
  thisProcess,
  writeState,
} from './run-folder.ts';
import {
  checkName,
  largestNode,
  largestOutside,
  largestPod,
  nodeAddresses,
  nodeName,
  outsideAddresses,
  outsideName,
  podAddresses,
  podName,
  underlayAddresses,
} from './topology.ts';

export interface LabOptions {
  /** Lower-case letters, digits, dots and dashes; unique on the machine. */
  readonly name: string;
  /** Default: 1. */
  readonly nodes?: number;
  /** Default: 0; more can be added with `addPod`. */
  readonly podsPerNode?: number;
  /** Number of outside hosts, for external clients; the underlay is their router. Default: 0. */
  readonly outside?: number;
  /** MTU of every network interface, in bytes. Default: 1500. */
  readonly mtu?: number;
  /**
   * Size of the largest packet that the router forwards in both directions, in bytes, if smaller than
   * `mtu`. Senders learn it only from ICMP errors. Default: `mtu`.
   */
  readonly pathMtu?: number;
  /**
   * Size of the largest packet that the router forwards to pods, in bytes, if smaller than `pathMtu`:
   * nodes then reach each other's pods through the router. Needs an outside host. Default: `pathMtu`.
   */
  readonly podPathMtu?: number;
  /** The nodes forward packets. Default: true. */
  readonly forwarding?: boolean;
  /** The nodes have routes to the pods of other nodes. Default: true. */
  readonly podRoutes?: boolean;
  /** The number of the first node in another subnet, which a router connects. Default: none. */
  readonly farFrom?: number;
  /** The number of the first pod of each node that is connected by netkit. Default: none. */
  readonly netkitFrom?: number;
  /** The lab stays when its owner ends or disposes of it, until `removeLab`. Default: false. */
  readonly keep?: boolean;
}

/** A cluster made of network namespaces. See README.md for its addresses. */
export class Lab implements Disposable {
  readonly #platform: Platform;
  readonly #id: string;
  readonly #ownedHere: boolean;
  readonly name: string;
  readonly keep: boolean;
  /** The folder of the cgroup that contains all cgroups of the lab. */
  readonly cgroup: string;
  /** The folder of the lab's bpffs, in which each node has a folder. */
  readonly bpffs: string;
  /** The host beyond the nodes: their router, and a source of external traffic. */
  readonly underlay: LabHost;
  readonly nodes: LabNode[] = [];
  /** Outside hosts, beyond the router. */
  readonly outside: LabHost[] = [];
  readonly #network: NetworkState;

  /** Use createLab or openLab. */
  constructor(platform: Platform, state: LabState, ownedHere: boolean) {
    this.#platform = platform;
    this.#id = state.id;
    this.#ownedHere = ownedHere;
    this.name = state.name;
    this.keep = state.keep;
    this.cgroup = state.cgroup;
    this.bpffs = `${labFolder(state.name)}/bpf`;
    this.#network = state.network;
    this.underlay = new LabHost(platform, this.#hostOf('underlay', 'underlay', underlayAddresses));
    for (const node of state.nodes) {
      const host = this.#nodeOf(node.number, node.name);
      this.nodes.push(host);
      for (const { number, name, connection } of node.pods) {
        host.pods.push(this.#podOf(host, number, name, connection));
      }
    }
    for (let host = 1; host <= state.outside; host++) this.outside.push(this.#outsideOf(host));
  }

  /** All pods of all nodes. */
  get pods(): LabPod[] {
    return this.nodes.flatMap((node) => node.pods);
  }

  /** All hosts: the underlay, nodes, pods and outside hosts. */
  get hosts(): LabHost[] {
    return [this.underlay, ...this.nodes, ...this.pods, ...this.outside];
  }

  /** Returns the host with that name. Throws an Error that lists the existing names. */
  host(name: string): LabHost {
    const { hosts } = this;
    const host = hosts.find((each) => each.name === name);
    if (host) return host;
    const names = hosts.map((each) => each.name).join(', ');
    throw new Error(`find ${name} in lab ${this.name}: there are only ${names}`);
  }

  /** Adds a pod to a node. Throws an Error when the name is taken. */
  addPod(node: LabNode, name?: string): LabPod {
    const pod = this.#newPod(node, name);
    connectPod(this.#platform, pod, this.#network);
    return pod;
  }

  /** Adds a pod with loopback only, and connects it by the CNI plug-in. Throws the plug-in's error. */
  async addPodBy(plugin: PodPlugin, node: LabNode, name?: string): Promise<LabPod> {
    const pod = this.#newPod(node, name);
    createLoopbackNamespace(this.#platform, pod);
    try {
      pod.connection = await plugin.add(pod);
    } catch (error) {
      removeCgroup(pod.cgroup);
      this.#forgetPod(pod);
      throw error;
    }
    this.#save();
    return pod;
  }

  #newPod(node: LabNode, name: string | undefined): LabPod {
    let number = 1;
    while (node.pods.some((pod) => pod.number === number)) number++;
    if (number > largestPod) {
      throw new RangeError(`add pod to ${node.name}: a node has room for ${largestPod}`);
    }
    const pod = this.#podOf(node, number, name ?? podName(node.number, number));
    checkName('pod', pod.name);
    if (this.hosts.some((host) => host.name === pod.name)) {
      throw new Error(`add pod ${pod.name}: lab ${this.name} has something of that name already`);
    }
    // The state is written first, so that a process that cleans up finds the pod.
    node.pods.push(pod);
    this.#save();
    makeCgroup(pod.cgroup);
    return pod;
  }

  /** Ends the processes of a pod that the CNI plug-in has connected, and removes it. */
  async removePodBy(plugin: PodPlugin, pod: LabPod): Promise<void> {
    removeCgroup(pod.cgroup);
    await plugin.remove(pod);
    this.#forgetPod(pod);
  }

  /** Ends a pod's processes and removes it. */
  removePod(pod: LabPod): void {
    removeCgroup(pod.cgroup);
    disconnectPod(this.#platform, pod);
    this.#forgetPod(pod);
  }

  #forgetPod(pod: LabPod): void {
    deleteNamespace(this.#platform, pod.netnsPath);
    const at = pod.node.pods.indexOf(pod);
    if (at >= 0) pod.node.pods.splice(at, 1);
    this.#save();
  }

  /** Adds a node without pods. */
  addNode(): LabNode {
    const number = this.nodes.length + 1;
    if (number > largestNode) {
      throw new RangeError(`add node to lab ${this.name}: it has room for ${largestNode}`);
    }
    const node = this.#nodeOf(number, nodeName(number));
    const others = [...this.nodes];
    this.nodes.push(node);
    this.#save();
    makeCgroup(node.cgroup);
    mkdirSync(node.bpffs);
    connectNode(this.#platform, node, this.underlay, others, this.#network);
    return node;
  }

  /** Adds an outside host. */
  addOutside(): LabHost {
    const number = this.outside.length + 1;
    if (number > largestOutside) {
      throw new RangeError(
        `add host outside lab ${this.name}: there is room for ${largestOutside}`,
      );
    }
    const host = this.#outsideOf(number);
    this.outside.push(host);
    this.#save();
    makeCgroup(host.cgroup);
    if (number === 1 && this.#network.farFrom > largestNode) {
      enableRouting(this.#platform, this.underlay);
    }
    connectOutsideHost(this.#platform, host, number, this.underlay, this.#network);
    return host;
  }

  /**
   * Makes the router forward packets for `address` to a node: an external IP or an address of a load
   * balancer, which no network interface has.
   */
  routeTo(node: LabNode, address: string): void {
    routeTo(this.#platform, this.underlay, address, node);
  }

  /** Creates the parts that every lab has; createLab calls it. */
  build(): void {
    const { bpffs, cgroup, underlay } = this;
    // An existing cgroup of that name belongs to an earlier lab that has ended or is being removed.
    removeCgroup(cgroup);
    makeCgroup(underlay.cgroup);
    mkdirSync(`${labFolder(this.name)}/netns`);
    mkdirSync(bpffs);
    const type = encodeCString('bpf');
    checked(
      'mount',
      this.#platform.syscall(
        syscallNumbers(this.#platform).mount,
        type,
        encodeCString(bpffs),
        type,
        0,
        0,
      ),
      `mount bpffs on ${bpffs}`,
    );
    createUnderlay(this.#platform, underlay, this.#network);
    if (this.#network.farFrom <= largestNode) enableRouting(this.#platform, underlay);
  }

  /**
   * Removes the lab if this process has created it without `keep`; otherwise there is nothing to
   * close. More than once is fine.
   */
  [Symbol.dispose](): void {
    if (!this.#ownedHere || this.keep) return;
    this.remove();
    unended.delete(this);
  }

  /** Removes the lab with everything in it; a missing one is fine. Throws AggregateError. */
  remove(): void {
    // Another lab of the same name may exist by now.
    if (readState(this.name)?.id === this.#id) removeLab(this.#platform, this.name);
  }

  #hostOf(name: string, cgroup: string, addresses: LabHost['addresses']) {
    const netnsPath = `${labFolder(this.name)}/netns/${name}`;
    return { name, netnsPath, cgroup: `${this.cgroup}/${cgroup}`, addresses };
  }

  #nodeOf(number: number, name: string): LabNode {
    const isFar = number >= this.#network.farFrom;
    const host = this.#hostOf(name, name, nodeAddresses(number, isFar));
    return new LabNode(this.#platform, { ...host, number, bpffs: `${this.bpffs}/${name}` });
  }

  #podOf(node: LabNode, number: number, name: string, connection?: PodConnection): LabPod {
    const host = this.#hostOf(name, `${node.name}/${name}`, podAddresses(node.number, number));
    return new LabPod(this.#platform, { ...host, number, node, connection });
  }

  #outsideOf(number: number): LabHost {
    const name = outsideName(number);
    return new LabHost(this.#platform, this.#hostOf(name, name, outsideAddresses(number)));
  }

  #save(): void {
    const state = readState(this.name);
    if (state?.id !== this.#id) throw new Error(`change lab ${this.name}: it is gone`);
    const nodes = this.nodes.map(({ name, number, pods }) => ({
      name,
      number,
      pods: pods.map((pod) => ({
        name: pod.name,
        number: pod.number,
        ...(pod.connection && { connection: pod.connection }),
      })),
    }));
    writeState({ ...state, nodes, outside: this.outside.length });
  }
}

/**
 * Creates a lab, after it has removed what killed runs have left. A lab ends with its owner: when it
 * is disposed of, when the process exits, or, after kill -9, when the next lab is created on the
 * machine. Needs root. Throws SysError, NetlinkError, or an Error when the name is taken, and then
 * leaves nothing behind.
 */
export function createLab(platform: Platform, options: LabOptions): Lab {
  const { name, nodes = 1, podsPerNode = 0, outside = 0, keep = false } = options;
  const { mtu = 1500, pathMtu = mtu, podPathMtu = pathMtu, forwarding = true } = options;
  const { podRoutes = true, farFrom = largestNode + 1, netkitFrom = largestPod + 1 } = options;
  checkName('lab', name);
  if (nodes > largestNode || podsPerNode > largestPod || outside > largestOutside) {
    throw new RangeError(
      `create lab ${name}: there is room for ${largestNode} nodes with ${largestPod} pods each, and ${largestOutside} hosts outside`,
    );
  }
  // IPv6 needs 1280 bytes (RFC 8200, 5); no packet is longer than 65535.
  for (const size of [mtu, pathMtu, podPathMtu]) {
    if (!(size >= 1280 && size <= 65535)) {
      throw new RangeError(`create lab ${name}: MTU ${size} is not within 1280 and 65535`);
    }
  }
  removeStaleLabs(platform);
  const cgroup = `${cgroupRoot()}/heddle-lab-${name}`;
  const state: LabState = {
    version: 1,
    name,
    id: randomUUID(),
    keep,
    owner: thisProcess(),
    cgroup,
    network: { mtu, pathMtu, podPathMtu, forwarding, podRoutes, farFrom, netkitFrom },
    nodes: [],
    outside: 0,
  };
  createFolder(state);
  const lab = new Lab(platform, state, true);
  try {
    lab.build();
    for (let i = 0; i < nodes; i++) {
      const node = lab.addNode();
      for (let j = 0; j < podsPerNode; j++) lab.addPod(node);
    }
    for (let i = 0; i < outside; i++) lab.addOutside();
  } catch (error) {
    lab.remove();
    throw error;
  }
  if (!keep) endWithProcess(lab);
  return lab;
}

const unended = new Set<Lab>();
let exitWatched = false;

/** Removes the remaining labs when the process exits, also on an uncaught error. */
function endWithProcess(lab: Lab): void {
  if (!exitWatched) {
    exitWatched = true;
    process.once('exit', () => {
      for (const each of unended) each[Symbol.dispose]();
    });
  }
  unended.add(lab);
}

/** Opens a lab of any process; returns undefined when there is none of that name. */
export function openLab(platform: Platform, name: string): Lab | undefined {
  const state = readState(name);
  return state && new Lab(platform, state, false);
}
