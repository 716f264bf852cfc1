import { objects } from '@heddle/assets';
import {
  backendCodec,
  type Datapath,
  decodeCtTable,
  defaultNat,
  type MapName,
  openDatapath,
} from '@heddle/datapath';
import { attachTypes } from '@heddle/ebpf';
import type { ObjectChange, ServiceInput } from '@heddle/objects';
import { ServiceModel, type ServiceRow } from '@heddle/services';
import { Reconciler, Table } from '@heddle/state';
import { parseIp } from '@heddle/sys';
import { AF_INET, AF_INET6 } from '@heddle/sys/net';
import { externalIfindex, type FrameResult, type Routes, SocketHandle, VmHost } from '@heddle/vm';
import { CopiedMap, ForkedMap, Timers, ValueMap, type VmMap } from '@heddle/vm/internal';
import { isV4, keyOf, mappedIpv4, sameBytes } from './addresses.ts';
import type { SimulationClock } from './clock.ts';
import type { ClusterNode } from './cluster.ts';
import { type AddressSwaps, viewOf, wrapMap } from './node-maps.ts';
import type { Scenario } from './scenario.ts';

/** Index of the interface to a node's pods. */
export const podInterface = 100;
const devices = [{ name: 'eth0', index: externalIfindex, address: '02:00:00:00:00:02' }];
const MTU = 1500;
const LOOKUP_SOURCE = 1 << 4;
// enum of BPF_FIB_LKUP_RET_*
const SUCCESS = 0;
const NOT_FORWARDED = 4;
const FRAGMENTATION_NEEDED = 8;
/** The interval and the slice of the garbage collection of flows (GC_SLICE and GC_INTERVAL_NS in bpf/ct/gc.h). */
const sweepNs = 50_000_000n;
const sweepSlice = 2048;
/** Sweeps after which another one changes nothing: mark, wait, free. */
const sweepsNeeded = 4;

/** Returns the address of a pod that is only a client, for loadBalancerSourceRanges. */
const podClientAddress = (number: number, isIpv4: boolean) =>
  parseIp(isIpv4 ? `10.64.${(number >> 8) & 255}.${number & 255}` : `fd00:10:64::${number}`)!;

/** Returns the node of an address (16 bytes as text): its own, or that of a pod on it. */
export interface AddressOwner {
  readonly node: SimulatedNode;
  readonly isPod: boolean;
}

export interface ClassOptions {
  readonly clock: SimulationClock;
  readonly seed: number;
  readonly sizes: Scenario['sizes'];
  readonly ownerOf: (address: string) => AddressOwner | undefined;
}

/** The use of a map on a node. */
export interface MapUse {
  readonly name: string;
  readonly entries: number;
  readonly maxEntries: number;
}

/** A node: its own view of the maps of its class, and its timers. */
export class SimulatedNode {
  readonly name: string;
  readonly zone: string;
  readonly addresses: readonly Uint8Array[];
  readonly class: NodeClass;
  isUp = true;
  /** Created when the node is first used. */
  views: readonly VmMap[] | undefined;
  timers = new Timers(() => {});
  /** The counts up to the latest failure of the node. */
  lostDrops = new Map<string, number>();

  constructor({ name, zone, addresses }: ClusterNode, nodeClass: NodeClass) {
    this.name = name;
    this.zone = zone;
    this.addresses = addresses.map((address) => parseIp(address)!);
    this.class = nodeClass;
  }

  /** Returns the node's address. */
  address(family: 4 | 6): Uint8Array | undefined {
    return this.addresses.find((address) => isV4(address) === (family === 4));
  }

  /** Passes a frame that enters or leaves through the node's interface to the programs there. */
  frame(direction: 'ingress' | 'egress', frame: Uint8Array): FrameResult {
    return this.class.frame(this, direction, frame);
  }
}

/**
 * Nodes whose services have the same rows except for the node's own address. They share a control
 * plane and a userspace machine with Heddle's programs; their maps differ in what programs wrote.
 * For each program run the machine is attached to one node.
 */
export class NodeClass implements Disposable {
  readonly nodes: readonly SimulatedNode[];
  readonly host: VmHost;
  readonly table = new Table<ServiceRow>();
  readonly #options: ClassOptions;
  readonly #model: ServiceModel;
  readonly #forks: ForkedMap[] = [];
  readonly #baseTimers: Timers;
  /** The address that stands for the node's own address in the maps of the class. */
  readonly #representative: ClusterNode;
  #datapath: Datapath;
  #reconciler: Reconciler<ServiceRow> | undefined;
  #current: SimulatedNode | undefined;
  #cookies = 1n;
  #sockets = 0n;
  #generations = new Uint32Array(0);

  constructor(nodes: readonly ClusterNode[], options: ClassOptions) {
    this.#options = options;
    this.#representative = nodes[0]!;
    const { name, zone, addresses } = this.#representative;
    this.host = new VmHost({
      base: options.clock,
      name,
      addresses: { v4: '192.0.2.1', v6: '2001:db8::1' },
      seed: options.seed,
      cpus: 1,
      routes: this.#routes,
      wrapMap: (machine, map) => {
        const wrapped = wrapMap(machine, map);
        if (wrapped instanceof ForkedMap) this.#forks.push(wrapped);
        return wrapped;
      },
    });
    this.#model = new ServiceModel({ nodeName: name, ownAddresses: addresses });
    const record = {
      kind: 'node',
      namespace: '',
      name,
      zone,
      labels: [],
      addresses,
      nodeIPs: addresses,
      podCIDRs: [],
      problems: [],
      leaving: false,
    } as const;
    this.#model.apply([{ op: 'set', object: record }]);
    this.#datapath = this.#open();
    this.#passAllAddresses();
    this.#reconciler = this.#reconcile();
    this.#baseTimers = this.host.machine.timers;
    this.nodes = nodes.map((node) => new SimulatedNode(node, this));
  }

  [Symbol.dispose](): void {
    this.#reconciler?.[Symbol.dispose]();
    this.#datapath[Symbol.dispose]();
    this.host[Symbol.dispose]();
  }

  /** Gives changes to the control plane, which programs them. */
  apply(changes: readonly ObjectChange<ServiceInput>[]): void {
    this.detachNode();
    const rows = this.#model.apply(changes);
    if (!this.#reconciler) return;
    this.table.apply(rows);
    this.#sync(this.#reconciler);
  }

  /** Ends the agents. What is programmed stays. */
  stop(): void {
    // A node that is not used yet has to start with what is programmed now.
    for (const node of this.nodes) this.#attachNode(node);
    this.detachNode();
    this.#reconciler?.[Symbol.dispose]();
    this.#reconciler = undefined;
  }

  /** Starts agents, which adopt what is programmed. */
  start(): void {
    this.detachNode();
    const before = this.#datapath;
    this.#datapath = this.#open();
    before[Symbol.dispose]();
    this.#reconciler = this.#reconcile();
    const wanted = [...this.#model.rows()];
    const keys = new Set(wanted.map(({ key }) => key));
    const removed = [...this.table.rows()].flatMap(({ key }) => (keys.has(key) ? [] : [key]));
    this.table.apply({ upserted: wanted, removed });
    this.#sync(this.#reconciler);
  }

  /** Returns the rows that are not programmed, and why. */
  failures(): { key: string; reason: string }[] {
    const found: { key: string; reason: string }[] = [];
    for (const [key, { state, reason = '' }] of this.#reconciler?.statuses() ?? []) {
      if (state === 'failed') found.push({ key, reason });
    }
    return found;
  }

  frame(node: SimulatedNode, direction: 'ingress' | 'egress', frame: Uint8Array): FrameResult {
    this.#attachNode(node);
    return this.host.frame(direction, frame);
  }

  /** Makes a network namespace for a client. */
  makePod(): bigint {
    return ++this.#cookies;
  }

  /** Makes a socket in a namespace of a node, by the namespace's cookie; 1 is the node's own. */
  makeSocket(cookie: bigint, family: 4 | 6, protocol: 6 | 17): SocketHandle {
    const socket = new SocketHandle(this.host.machine.memory, {
      family: family === 4 ? AF_INET : AF_INET6,
      type: protocol === 6 ? 1 : 2,
      protocol,
      netnsCookie: cookie,
      cookie: ++this.#sockets,
    });
    if (cookie !== 1n) socket.showSource(podClientAddress(Number(cookie), family === 4), 0);
    return socket;
  }

  /**
   * Runs the cgroup's programs for connect() of a TCP socket or sendto() of a UDP socket. Returns the
   * destination, or -errno.
   */
  call(node: SimulatedNode, socket: SocketHandle, address: string, port: number) {
    this.#attachNode(node);
    const { family, protocol } = socket.fields;
    const { result, endpoint } = this.host.hooks.address(
      protocol === 6 ? 'connect' : 'sendmsg',
      family === AF_INET ? 4 : 6,
      socket,
      this.host.cgroup,
      { address, port },
    );
    return result < 0 ? result : endpoint;
  }

  closeSocket(node: SimulatedNode, socket: SocketHandle): void {
    this.#attachNode(node);
    this.host.hooks.socket(attachTypes.cgroup_inet_sock_release, socket, this.host.cgroup);
    this.host.forgetStorage(socket);
    socket.dispose();
  }

  /** Returns the counts of a node by reason: dropped packets and refused calls. */
  drops(node: SimulatedNode): { reason: string; count: number }[] {
    if (!node.views) return [];
    this.#attachNode(node);
    const refused = this.#datapath.drops
      .refusals()
      .map(({ reason, count }) => ({ reason: `socket: ${reason}`, count }));
    return [...this.#datapath.drops.counts(), ...refused].filter(({ count }) => count > 0);
  }

  /** Returns the maps that the control plane fills; they are the same for all nodes of the class. */
  sharedUse(): MapUse[] {
    this.detachNode();
    return this.#datapath.status().maps.filter(({ name }) => name !== 'nat_flows');
  }

  /** Returns the tables that a node's programs fill. */
  ownUse(node: SimulatedNode): MapUse[] {
    const size = (name: MapName) => {
      const view = node.views?.[this.#forks.indexOf(this.#fork(name))];
      return view instanceof ValueMap ? view.size : 0;
    };
    const { flows, affinity } = this.#options.sizes;
    return [
      { name: 'nat_flows', entries: this.#flowsOf(node), maxEntries: flows - 1 },
      { name: 'affinity', entries: size('affinity'), maxEntries: affinity },
    ];
  }

  #flowsOf(node: SimulatedNode): number {
    const table = this.#fork('nat_table');
    const bytes = new Uint8Array(table.valueBytes);
    node.views?.[this.#forks.indexOf(table)]?.lookup(new Uint8Array(4), bytes);
    return decodeCtTable(bytes).used;
  }

  /** Restarts the node's kernel: its maps are empty. */
  resetNode(node: SimulatedNode): void {
    this.detachNode();
    for (const { reason, count } of this.drops(node)) {
      node.lostDrops.set(reason, (node.lostDrops.get(reason) ?? 0) + count);
    }
    this.detachNode();
    for (const [i, view] of (node.views ?? []).entries()) {
      if (view !== this.#forks[i]!.original) view.dispose();
    }
    node.views = undefined;
    node.timers = new Timers(() => {});
  }

  /** Makes the machine the kernel of no node, so that the control plane can write its maps. */
  detachNode(): void {
    if (!this.#current) return;
    for (const map of this.#forks) map.use(undefined);
    this.host.machine.timers = this.#baseTimers;
    this.#current = undefined;
  }

  /** Makes the machine the node's kernel, and runs the timers that were due meanwhile. */
  #attachNode(node: SimulatedNode): void {
    if (this.#current !== node) {
      const isNew = node.views === undefined;
      const views = node.views ?? this.#makeViews(node);
      node.views = views;
      this.#forks.forEach((map, i) => {
        map.use(views[i]);
      });
      this.host.machine.timers = node.timers;
      this.#current = node;
      if (isNew)
        this.#datapath.programs.node.program('start_gc').testRun({ data: new Uint8Array(64) });
    }
    this.#sweep(node);
  }

  /** Skips old sweeps: a later one finds everything that they would have found. */
  #sweep(node: SimulatedNode): void {
    const { clock } = this.#options;
    const now = clock.monotonicNs();
    if (node.timers.next === undefined || node.timers.next > now) return;
    const table = new Uint8Array(this.#fork('nat_table').valueBytes);
    this.#fork('nat_table').lookup(new Uint8Array(4), table);
    const { highWater } = decodeCtTable(table);
    const slices = Math.ceil(highWater / sweepSlice) + 1;
    const earliest = now - sweepNs * BigInt(slices * sweepsNeeded);
    for (let due = node.timers.next; due !== undefined && due <= now; due = node.timers.next) {
      clock.at(due < earliest ? earliest : due, () => this.host.machine.runTimers());
    }
  }

  #makeViews(node: SimulatedNode): VmMap[] {
    const { machine } = this.host;
    const swaps: AddressSwaps = this.#representative.addresses.flatMap((text) => {
      const theirs = parseIp(text)!;
      const own = node.address(isV4(theirs) ? 4 : 6);
      return own && !sameBytes(own, theirs) ? [[theirs, own] as const] : [];
    });
    const views = this.#forks.map((map) => viewOf(machine, map, swaps));
    // Backends observe the node's own address as source.
    const sources = this.#fork('nat_sources');
    const { original } = sources;
    const view = views[this.#forks.indexOf(sources)]!;
    const [key, value] = [new Uint8Array(4), new Uint8Array(16)];
    for (
      key[0] = 1;
      original.lookup(key, value) === 0 && value.some((byte) => byte !== 0);
      key[0]++
    ) {
      const swap = swaps.find(([theirs]) => sameBytes(theirs, value));
      if (swap) view.update(key, swap[1], 0);
    }
    return views;
  }

  /** Sets the node's own addresses; the rest of the map of addresses is shared. */
  #passAllAddresses(): void {
    const { original } = this.#fork('address_filter');
    const all = new Uint8Array(8).fill(0xff);
    const key = new Uint8Array(4);
    for (let word = 0; word < original.options.maxEntries; word++) {
      new DataView(key.buffer).setUint32(0, word, true);
      original.update(key, all, 0);
    }
  }

  /** Returns a map that nodes have views of, by its name. */
  #fork(name: MapName): ForkedMap {
    const found = this.#forks.find(({ options }) => options.name === name);
    if (!found) throw new Error(`find map ${name}: the objects have no such map`);
    return found;
  }

  #open(): Datapath {
    const { host } = this;
    const { sizes } = this.#options;
    const datapath = openDatapath({
      platform: host.platform,
      bpf: host.bpf,
      objects,
      bpffs: '/sys/fs/bpf',
      cgroup: host.cgroupPath,
      sizes,
      netnsCookie: host.node.namespace.cookie,
      nat: defaultNat,
      options: { terminateTcp: false },
    });
    datapath.setNode(devices, this.#representative.addresses);
    // No packet enters here: the tables to sweep belong to the nodes.
    host[Symbol.dispose]();
    return datapath;
  }

  #reconcile(): Reconciler<ServiceRow> {
    return new Reconciler(this.table, this.#datapath.services, this.host.platform);
  }

  /** Runs the reconciler until every row was tried. */
  #sync(reconciler: Reconciler<ServiceRow>): void {
    reconciler.sync();
    reconciler.setComplete();
    while (reconciler.counts().pending > 0) reconciler.sync();
    this.#dropStaleCounters();
  }

  /** Resets a backend's counters on the nodes when its id is used again, as the control plane does. */
  #dropStaleCounters(): void {
    const { original } = this.#fork('backends');
    const stats = this.#forks.indexOf(this.#fork('backend_stats'));
    const { maxEntries } = original.options;
    const bytes = original.mapping(maxEntries * original.valueBytes, 0, false);
    if (!bytes) throw new Error('read backends: the map cannot be mapped');
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    const stride = original.valueBytes / 4;
    const before = this.#generations;
    const after = new Uint32Array(maxEntries);
    const key = new Uint8Array(4);
    for (let id = 1; id < maxEntries; id++) {
      const generation = words[id * stride + backendCodec.offsets.generation / 4]!;
      after[id] = generation;
      if (before.length === 0 || before[id] === generation) continue;
      new DataView(key.buffer).setUint32(0, id, true);
      for (const { views } of this.nodes) {
        const view = views?.[stats];
        if (view instanceof CopiedMap) view.forget(key);
      }
    }
    this.#generations = after;
  }

  /** Returns the route on the current node: its pods behind one interface, all else behind the other. */
  readonly #routes: Routes = (route, flags) => {
    const node = this.#current;
    if (!node) return NOT_FORWARDED;
    const isIpv4 = route[0] === AF_INET;
    const view = new DataView(route.buffer, route.byteOffset, route.byteLength);
    const destination = isIpv4 ? mappedIpv4(route.subarray(32, 36)) : route.subarray(32, 48);
    const owner = this.#options.ownerOf(keyOf(destination));
    const isHere = owner?.node === node;
    if (isHere && !owner.isPod) return NOT_FORWARDED;
    if (view.getUint16(6, true) > MTU) {
      view.setUint16(6, MTU, true);
      return FRAGMENTATION_NEEDED;
    }
    const index = isHere ? podInterface : externalIfindex;
    view.setUint32(8, index, true);
    view.setUint16(6, MTU, true);
    const source = flags & LOOKUP_SOURCE ? node.address(isIpv4 ? 4 : 6) : undefined;
    if (source) route.set(isIpv4 ? source.subarray(12) : source, 16);
    route.set([2, 0, 0, 0, index >> 8, index & 0xff], 52);
    route.set([2, 0, 0, 1, index >> 8, index & 0xff], 58);
    return SUCCESS;
  };
}
