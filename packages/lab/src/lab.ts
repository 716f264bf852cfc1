import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { deleteNamespace } from '@heddle/netlink';
import { checked, encodeCString, type Platform, syscallNumbers } from '@heddle/sys';
import { cgroupRoot, makeCgroup, removeCgroup } from './cgroup.ts';
import { LabNode, LabPod, Place } from './place.ts';
import { removeLab, removeStaleLabs } from './removal.ts';
import {
  claimFolder,
  isAlive,
  type LabState,
  labFolder,
  labNames,
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
import {
  leadTo,
  openOutside,
  unwirePod,
  wireNode,
  wireOutside,
  wirePod,
  wireUnderlay,
} from './wiring.ts';

export interface LabOptions {
  /** Lower-case letters, digits, dots and dashes; one lab of a name at a time on a machine. */
  readonly name: string;
  /** Default: 1. */
  readonly nodes?: number;
  /** Default: 0; more can be added with `addPod`. */
  readonly podsPerNode?: number;
  /** Hosts beyond the underlay's router, which forwards then: clients from outside. Default: 0. */
  readonly outside?: number;
  /** Largest packet of every device, in bytes. Default: 1500. */
  readonly mtu?: number;
  /**
   * Largest packet that the router forwards, either way, if smaller than `mtu`: nobody knows of it
   * who hasn't been told by ICMP. Default: `mtu`.
   */
  readonly pathMtu?: number;
  /**
   * Largest packet that the router forwards to pods, if smaller still: nodes then reach each other's
   * pods through the router. Needs a host outside. Default: `pathMtu`.
   */
  readonly podPathMtu?: number;
  /** Whether the nodes forward packets. Default: true. */
  readonly forwarding?: boolean;
  /** The lab stays when its owner ends or disposes of it; `removeLab` ends it. Default: false. */
  readonly keep?: boolean;
}

/** A cluster made of network namespaces. See README.md for its addresses. */
export class Lab implements Disposable {
  readonly #platform: Platform;
  readonly #id: string;
  readonly #ownedHere: boolean;
  readonly name: string;
  readonly keep: boolean;
  /** Folder of the cgroup that holds all of the lab's. */
  readonly cgroup: string;
  /** A bpffs that goes with the lab; each node has a folder in it. */
  readonly bpffs: string;
  /** The host beyond the nodes: their router, and itself a source of traffic from outside. */
  readonly underlay: Place;
  readonly nodes: LabNode[] = [];
  /** Hosts beyond the router. */
  readonly outside: Place[] = [];
  readonly #network: NetworkState;

  /** For createLab and openLab. */
  constructor(platform: Platform, state: LabState, ownedHere: boolean) {
    this.#platform = platform;
    this.#id = state.id;
    this.#ownedHere = ownedHere;
    this.name = state.name;
    this.keep = state.keep;
    this.cgroup = state.cgroup;
    this.bpffs = `${labFolder(state.name)}/bpf`;
    this.underlay = new Place(platform, this.#placeOf('underlay', 'underlay', underlayAddresses));
    for (const node of state.nodes) {
      const place = this.#nodeOf(node.number, node.name);
      this.nodes.push(place);
      for (const pod of node.pods) place.pods.push(this.#podOf(place, pod.number, pod.name));
    }
    for (let host = 1; host <= state.outside; host++) this.outside.push(this.#outsideOf(host));
    this.#network = state.network;
  }

  /** All pods of all nodes. */
  get pods(): LabPod[] {
    return this.nodes.flatMap((node) => node.pods);
  }

  /** All places there are: the underlay, nodes, pods and hosts outside. */
  get places(): Place[] {
    return [this.underlay, ...this.nodes, ...this.pods, ...this.outside];
  }

  /** The place with that name. Throws an Error that names those there are. */
  place(name: string): Place {
    const { places } = this;
    const place = places.find((each) => each.name === name);
    if (place) return place;
    const names = places.map((each) => each.name).join(', ');
    throw new Error(`find ${name} in lab ${this.name}: there are only ${names}`);
  }

  /** Adds a pod to a node, under a name of its own if given. Throws when the name is taken. */
  addPod(node: LabNode, name?: string): LabPod {
    let number = 1;
    while (node.pods.some((pod) => pod.number === number)) number++;
    if (number > largestPod) {
      throw new RangeError(`add pod to ${node.name}: a node has room for ${largestPod}`);
    }
    const pod = this.#podOf(node, number, name ?? podName(node.number, number));
    checkName('pod', pod.name);
    if (this.places.some((place) => place.name === pod.name)) {
      throw new Error(`add pod ${pod.name}: lab ${this.name} has something of that name already`);
    }
    // Recorded first, so that whoever cleans up knows of it.
    node.pods.push(pod);
    this.#save();
    makeCgroup(pod.cgroup);
    wirePod(this.#platform, pod, this.#network);
    return pod;
  }

  /** Ends a pod's processes and removes it. */
  removePod(pod: LabPod): void {
    removeCgroup(pod.cgroup);
    unwirePod(this.#platform, pod);
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
    wireNode(this.#platform, node, this.underlay, others, this.#network);
    return node;
  }

  /** Adds a host beyond the router. */
  addOutside(): Place {
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
    if (number === 1) openOutside(this.#platform, this.underlay);
    wireOutside(this.#platform, host, number, this.underlay, this.#network);
    return host;
  }

  /**
   * Has the router send what is for `address` to a node: an external IP or a load balancer's, which
   * no device has.
   */
  leadTo(node: LabNode, address: string): void {
    leadTo(this.#platform, this.underlay, address, node);
  }

  /** Makes what every lab has; part of createLab. */
  build(): void {
    const { bpffs, cgroup, underlay } = this;
    // A cgroup of that name can only be what an earlier lab left, or is about to remove.
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
    wireUnderlay(this.#platform, underlay, this.#network);
  }

  /**
   * Removes the lab if this process made it and it isn't kept; otherwise there is nothing to
   * close. More than once is fine.
   */
  [Symbol.dispose](): void {
    if (!this.#ownedHere || this.keep) return;
    this.remove();
    unended.delete(this);
  }

  /** Removes the lab with everything in it; one that is gone is fine. Throws AggregateError. */
  remove(): void {
    // One of the same name may have been made since.
    if (readState(this.name)?.id === this.#id) removeLab(this.#platform, this.name);
  }

  #placeOf(name: string, cgroup: string, addresses: Place['addresses']) {
    const netnsPath = `${labFolder(this.name)}/netns/${name}`;
    return { name, netnsPath, cgroup: `${this.cgroup}/${cgroup}`, addresses };
  }

  #nodeOf(number: number, name: string): LabNode {
    const place = this.#placeOf(name, name, nodeAddresses(number));
    return new LabNode(this.#platform, { ...place, number, bpffs: `${this.bpffs}/${name}` });
  }

  #podOf(node: LabNode, number: number, name: string): LabPod {
    const place = this.#placeOf(name, `${node.name}/${name}`, podAddresses(node.number, number));
    return new LabPod(this.#platform, { ...place, number, node });
  }

  #outsideOf(number: number): Place {
    const name = outsideName(number);
    return new Place(this.#platform, this.#placeOf(name, name, outsideAddresses(number)));
  }

  #save(): void {
    const state = readState(this.name);
    if (state?.id !== this.#id) throw new Error(`change lab ${this.name}: it is gone`);
    const nodes = this.nodes.map(({ name, number, pods }) => ({
      name,
      number,
      pods: pods.map((pod) => ({ name: pod.name, number: pod.number })),
    }));
    writeState({ ...state, nodes, outside: this.outside.length });
  }
}

/**
 * Makes a lab, after removing what killed runs left. It ends with its owner: when it is disposed
 * of, when the process exits, or, after kill -9, when the next lab is made anywhere on the machine.
 * Needs root. Throws SysError, NetlinkError, or Error when the name is taken, and then leaves
 * nothing behind.
 */
export function createLab(platform: Platform, options: LabOptions): Lab {
  const { name, nodes = 1, podsPerNode = 0, outside = 0, keep = false } = options;
  const { mtu = 1500, pathMtu = mtu, podPathMtu = pathMtu, forwarding = true } = options;
  checkName('lab', name);
  if (nodes > largestNode || podsPerNode > largestPod || outside > largestOutside) {
    throw new RangeError(
      `create lab ${name}: there is room for ${largestNode} nodes with ${largestPod} pods each, and ${largestOutside} hosts outside`,
    );
  }
  // IPv6 wants 1280 (RFC 8200, 5); no packet is longer than 65535.
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
    network: { mtu, pathMtu, podPathMtu, forwarding },
    nodes: [],
    outside: 0,
  };
  claimFolder(state);
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

/** Also when the process exits without a word, or on an error that nobody caught. */
function endWithProcess(lab: Lab): void {
  if (!exitWatched) {
    exitWatched = true;
    process.once('exit', () => {
      for (const each of unended) each[Symbol.dispose]();
    });
  }
  unended.add(lab);
}

/** A lab that any process made; undefined when there is none of that name. */
export function openLab(platform: Platform, name: string): Lab | undefined {
  const state = readState(name);
  return state && new Lab(platform, state, false);
}

/** One lab of this machine. */
export interface LabSummary {
  readonly name: string;
  readonly keep: boolean;
  /** Process that made it. */
  readonly owner: number;
  readonly ownerAlive: boolean;
  readonly nodes: number;
  readonly pods: number;
}

/** The labs of this machine, whoever made them. */
export function listLabs(): LabSummary[] {
  const labs: LabSummary[] = [];
  for (const name of labNames()) {
    const state = readState(name);
    if (!state) continue;
    labs.push({
      name,
      keep: state.keep,
      owner: state.owner.pid,
      ownerAlive: isAlive(state.owner),
      nodes: state.nodes.length,
      pods: state.nodes.reduce((sum, node) => sum + node.pods.length, 0),
    });
  }
  return labs;
}
