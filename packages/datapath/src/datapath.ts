import {
  type Bpf,
  BpfMap,
  type Feature,
  featureSince,
  features,
  type LoadedObject,
  mountBpffs,
  type ObjectSpec,
  readObject,
} from '@heddle/ebpf';
import { btfForKernel } from '@heddle/ebpf/internal';
import type { ServiceRow, TunnelEnds } from '@heddle/services';
import type { Operations } from '@heddle/state';
import { allOrNothing, type Disposal, parseIp } from '@heddle/sys';
import { configuredNode, configuredSocket, withFrontends } from './configured-objects.ts';
import {
  type Damage,
  ProgrammedArray,
  type ProgrammedContent,
  ProgrammedMap,
} from './core/audit.ts';
import { Integrity } from './core/integrity.ts';
import { loadShared } from './core/load-shared.ts';
import { MappedArray } from './core/mapped-array.ts';
import { PinnedLinks } from './core/pinned-links.ts';
import {
  openMap,
  otherFolders,
  type PinFolder,
  type PinnedMap,
  pinFolder,
  pinMaps,
  pinnedSize,
  removeFolder,
  resizedMap,
} from './core/pinned-maps.ts';
import { keyText, Slots } from './core/store.ts';
import type { DatapathOptions, DatapathSizes } from './datapath-options.ts';
import { type NodeDevice, NodeDevices } from './devices/node-devices.ts';
import { XdpDevices, type XdpState } from './devices/xdp-devices.ts';
import { type DropNotice, dropCounts, watchDrops } from './events/drops.ts';
import {
  decodeCtTable,
  encodeService,
  heddleAbi,
  refusalReason,
  type ServiceFlags,
  serviceAlgorithm,
  serviceSize,
} from './generated/abi.ts';
import type { FlowEntry } from './nat/flows.ts';
import type { PortUse } from './nat/nat-ports.ts';
import { type NatStatus, NatTable } from './nat/nat-table.ts';
import type { AddressUse } from './services/address-roles.ts';
import type { BackendCounters, TrafficTotals } from './services/backend-table.ts';
import { ReplySources } from './services/reply-sources.ts';
import { ServiceMaps } from './services/service-maps.ts';
import { type RefusalCount, ServiceRefusals } from './services/service-refusals.ts';
import { SourceRanges } from './services/source-ranges.ts';
import { attachHooks, hasHooks } from './sockets/hooks.ts';
import { kernelFields, readsKernel } from './sockets/kernel-fields.ts';
import { OpenConnections } from './sockets/open-connections.ts';
import { StaleSockets } from './sockets/stale-sockets.ts';

export interface DatapathStatus {
  readonly abi: number;
  readonly maps: readonly { name: string; entries: number; maxEntries: number }[];
  readonly links: readonly { hook: string; attached: boolean }[];
  /** What the kernel lacks, the version that has it, and what is done in its place. */
  readonly missing: readonly { feature: string; since: string; instead: string }[];
  /** Whether services of an earlier agent were found in force. */
  readonly adopted: boolean;
  /** Rows that were found in force at the start, but not as they should be. */
  readonly repaired: number;
  /** Why maps of an earlier agent were replaced, in words. */
  readonly migrated: readonly string[];
  readonly socketsDestroyed: number;
  readonly nat: NatStatus;
  /** Of the devices that XDP is wanted for. */
  readonly xdp: readonly XdpState[];
  readonly traffic: TrafficTotals;
  /** Whether packets to backends on this node pass netfilter, which tracks connections there. */
  readonly tracked: boolean;
}

const frontendMapNames = ['services', 'addresses'] as const;
type FrontendMap = (typeof frontendMapNames)[number];
/** The parts that are loaded. */
interface Parts<Part> {
  readonly socket: Part;
  readonly node: Part;
  readonly xdp: Part | undefined;
}
type Specs = Parts<ObjectSpec>;
type Loaded = Parts<LoadedObject>;

/** The place of the round-robin cursor in struct service, which the programs write. */
const cursorOffset = (() => {
  const bytes = new Uint8Array(serviceSize);
  const { random: algorithm } = serviceAlgorithm;
  const flags = 0 as ServiceFlags;
  const others = { id: 0, firstSlot: 0, slotCount: 0, affinitySeconds: 0, algorithm, flags };
  encodeService({ ...others, cursor: 1 }, bytes);
  return bytes.indexOf(1);
})();
const version = `v${heddleAbi.currentAbi}`;
/** Maps that a BPF program fills from the flows where they are new. */
const countedFlows = ['nat_evictable', 'nat_shares'];
const reasonText: Readonly<Record<number, string>> = {
  [refusalReason.invalidSource]: 'a socket bound to loopback, from which no pod is reached',
  [refusalReason.unknownPort]: 'a port that the service does not have',
  [refusalReason.noBackend]: 'no endpoints',
  [refusalReason.sourceRange]: 'loadBalancerSourceRanges does not have the client',
};

/** What the oldest kernel lacks, and how the datapath does without. */
const optionalFeatures: readonly { feature: Feature; instead: string }[] = [
  {
    feature: 'kfunc/bpf_sock_destroy',
    instead: 'sockets of removed backends are closed through sock_diag',
  },
  {
    feature: 'iter/bpf_sk_storage_map',
    instead: 'sockets of removed backends are looked for in one network namespace after the other',
  },
  {
    feature: readsKernel,
    instead:
      'pods count as clients without an address, which frontends with loadBalancerSourceRanges refuse',
  },
  { feature: 'link/tcx', instead: 'programs of devices are filters of a clsact qdisc' },
];

/** Folder below the bpf file system that everything of Heddle is pinned in. */
export function pinRoot(bpffs: string): string {
  return `${bpffs}/heddle`;
}

/** Folder of the maps and links that this version pins. */
export function currentPins(bpffs: string): PinFolder {
  return pinFolder(pinRoot(bpffs), version);
}

/**
 * Takes over what is in force, or brings the empty datapath into force. An agent that dies leaves
 * everything as it is; the next one adopts it. When a map's layout or size has changed, new maps
 * are filled first, and the programs switch to them with the first `prune`. Throws SysError,
 * VerifierError, NotSupported.
 */
export function openDatapath(options: DatapathOptions): Datapath {
  return allOrNothing((opened) => new Datapath(options, opened));
}

export class Datapath implements Operations<ServiceRow>, Disposable {
  private readonly options: DatapathOptions;
  private readonly opened: Disposal;
  private readonly folders: readonly PinFolder[];
  /** Those of other layouts, until the node's interfaces have the programs of this one. */
  private readonly otherFolders: PinFolder[];
  private specs: Specs;
  private loaded: LoadedObject;
  /** The programs of the node's devices; public for test runs. */
  node: LoadedObject;
  /** The program for XDP, unless that is off; public for test runs. */
  xdp: LoadedObject | undefined;
  private pinned: readonly PinnedMap[];
  /** The same by name; those who hold it see a map that takes another's place. */
  private readonly maps: Record<string, BpfMap>;
  /** The maps that grow. */
  private readonly frontendMaps: Readonly<Record<FrontendMap, ProgrammedMap>>;
  private readonly services: ServiceMaps;
  private readonly ranges: SourceRanges;
  private readonly replySources: ReplySources;
  private readonly serviceRefusals: ServiceRefusals;
  private readonly stale: StaleSockets;
  private readonly open: OpenConnections;
  private readonly nat: NatTable;
  private readonly links: PinnedLinks;
  private readonly contents: ProgrammedContent[] = [];
  private readonly integrity: Integrity;
  private readonly devices: NodeDevices;
  private readonly xdpDevices: XdpDevices;
  private nodeDevices: readonly NodeDevice[] = [];
  private isNodeSet = false;
  private peers: readonly AddressUse[] = [];
  private dropWatch: Disposable | undefined;
  /** True if services of an earlier agent were found programmed. */
  readonly adopted: boolean;
  private active = false;
  private released = false;

  /** Everything that this opens goes into `opened`, which the caller releases when this throws. */
  constructor(options: DatapathOptions, opened: Disposal) {
    const { platform, bpf, objects } = options;
    this.options = options;
    this.opened = opened;
    const root = pinRoot(options.bpffs);
    mountBpffs(platform, options.bpffs);
    this.otherFolders = otherFolders(platform, root, version);
    this.folders = [pinFolder(root, version), ...this.otherFolders];
    const sized = { ...options, sizes: this.presentSizes() };
    const { xdp = 'off' } = options;
    const read = (name: string) => readObject(objects(name), `${name}.o`);
    const specs: Specs = {
      socket: configuredSocket(read('socket'), sized, kernelFields(platform, bpf)),
      node: configuredNode(read('node'), sized),
      xdp: xdp === 'off' ? undefined : configuredNode(read('xdp'), sized),
    };
    this.specs = specs;

    const pinned = this.openMaps([specs.socket, specs.node]);
    const maps = Object.fromEntries(pinned.map(({ map }) => [map.info.name, map]));
    this.pinned = pinned;
    this.maps = maps;
    const loaded = loadAll(bpf, specs, maps, opened);
    this.loaded = loaded.socket;
    this.node = loaded.node;
    this.xdp = loaded.xdp;
    const stale = read('stale');
    const { terminateTcp: tcp } = options.options;
    this.stale = opened.use(new StaleSockets(bpf, platform, stale, maps, { tcp }));
    this.open = new OpenConnections(bpf, platform, stale, maps, this.folders[0]!);
    this.frontendMaps = {
      services: this.programmed(maps.services!, cursorOffset),
      addresses: this.programmed(maps.addresses!),
    };
    this.services = new ServiceMaps(
      {
        ...this.frontendMaps,
        addressFilter: this.mapped(maps.address_filter!),
        slots: new Slots(this.mapped(maps.slots!)),
        backends: this.mapped(maps.backends!),
        backendStats: opened.use(new MappedArray(maps.backend_stats!)),
      },
      () => platform.monotonicNs(),
      (protocol) => this.stale.expect(protocol),
      options.sourceRanges,
    );
    if (options.sizes.servicesMax !== undefined) {
      this.services.makeRoom = (entries) => this.enlarge(entries);
    }
    this.ranges = new SourceRanges(this.programmed(maps.source_ranges!));
    // The programs set bits of it, too, so it is not audited.
    this.replySources = new ReplySources(opened.use(new MappedArray(maps.reply_sources!)));
    this.serviceRefusals = new ServiceRefusals(maps.service_refused!);
    this.serviceRefusals.drop((id) => !this.services.hasId(id));
    const sources = this.programmed(maps.nat_sources!);
    this.nat = opened.use(
      new NatTable(platform, maps, sources, this.node, this.services.roles, options.nat.ports),
    );
    this.contents.push(this.nat.programmed);
    this.links = opened.use(new PinnedLinks(bpf, platform, this.folders));
    const roles = this.programmed(maps.node_devices!);
    this.devices = new NodeDevices(bpf, platform, this.node, this.links, roles);
    const linkAddresses = this.programmed(maps.xdp_devices!);
    this.xdpDevices = new XdpDevices(
      ...([bpf, platform, this.links, linkAddresses, xdp, this.xdp] as const),
    );
    this.integrity = new Integrity({
      ...{ platform, bpf, bpffs: options.bpffs, folder: this.folders[0]!, cgroup: options.cgroup },
      ...{
        maps: () => this.pinned.map(({ map }) => map),
        links: this.links,
        contents: this.contents,
      },
      ...{ devices: this.devices, xdpDevices: this.xdpDevices },
      attach: () => this.attach(),
      startSweeping: () => this.nat.startSweeping(),
    });
    this.adopted = !this.services.isEmpty;
    const replaced = pinned.some(({ differences }) => differences.length > 0);
    const inForce = hasHooks(bpf, this.folders, this.loaded.programs.keys());
    const replies = pinned.find(({ map }) => map.info.name === 'reply_sources')!;
    // Flows of programs that knew nothing of it may be replied to from anywhere.
    if (inForce && replies.pinAt !== undefined) {
      using memory = replies.map.mmap();
      memory.bytes.fill(0xff);
    }
    // New maps wait until they hold everything, unless there is nothing that they would replace.
    if (!replaced || !inForce) this.activate();
  }

  update(rows: readonly ServiceRow[]): readonly (Error | undefined)[] {
    const errors: (Error | undefined)[] = rows.map((row) => {
      try {
        this.ranges.add(row);
        return undefined;
      } catch (error) {
        return error as Error;
      }
    });
    // First what gives room.
    for (const gives of [true, false]) {
      const guarded = rows.filter(
        (row, i) => errors[i] === undefined && (row.notAdmitted !== undefined) === gives,
      );
      for (const row of guarded) this.replySources.expect(row);
      const results = this.services.update(guarded);
      guarded.forEach((row, i) => {
        if (results[i]) errors[rows.indexOf(row)] = results[i];
        else this.ranges.settle(row);
      });
    }
    if (this.active) this.open.set(this.services.countsOpen);
    rows.forEach(({ notAdmitted }, i) => {
      if (notAdmitted !== undefined) errors[i] ??= new Error(notAdmitted);
    });
    return errors;
  }

  remove(keys: readonly string[]): readonly (Error | undefined)[] {
    const errors = this.services.remove(keys);
    if (this.active) this.open.set(this.services.countsOpen);
    keys.forEach((key, i) => {
      if (!errors[i]) this.ranges.remove(key);
    });
    this.serviceRefusals.drop((id) => !this.services.hasId(id));
    return errors;
  }

  /** Also lets the programs switch to new maps, if they have waited to be filled. */
  prune(desired: Iterable<ServiceRow>): void {
    if (!this.active) this.activate();
    this.services.prune(desired);
    this.ranges.prune();
    this.serviceRefusals.drop((id) => !this.services.hasId(id));
  }

  /**
   * Says at which devices traffic enters from outside, and which addresses the node has, the
   * preferred ones first: with those backends on other nodes see it. To be called in the node's
   * network namespace. Throws SysError, NetlinkError, RangeError.
   */
  setNode(devices: readonly NodeDevice[], addresses: readonly string[]): void {
    this.nat.setAddresses(addresses);
    this.nodeDevices = devices;
    this.isNodeSet = true;
    if (!this.active) return;
    this.setDevices();
    this.removeOtherLayouts();
  }

  /**
   * Takes frontends at addresses and ports of TCP out of force, so that sockets of this node reach what is
   * there itself. ClusterIPs stay. Throws SysError.
   */
  dropFrontends(places: readonly { readonly address: string; readonly port: number }[]): void {
    for (const { address, port } of places) this.services.dropFrontend(address, port);
  }

  /**
   * Says between which addresses packets may be tunnelled: from this node's own, and to it from the
   * other nodes', whom it believes. Throws SysError, MapFull.
   */
  setTunnelEnds({ peers, own }: TunnelEnds): void {
    const uses = peers.map((address) => ({
      ...{ address: keyText(parseIp(address)!), role: 'peer' as const },
    }));
    this.services.roles.add(uses);
    this.services.roles.drop(this.peers);
    this.peers = uses;
    this.nat.setTunnelSources(own);
  }

  /**
   * Says whether netfilter tracks connections in the node's network namespace. Then packets to
   * backends on this node pass it, as their replies do. Stays in force after the agent.
   */
  setTracked(tracked: boolean): void {
    this.nat.setTracked(tracked);
  }

  /**
   * Hooks and pins that are not as they were made, because somebody else has changed them. To be called,
   * like the two that follow, in the node's network namespace. Throws SysError, NetlinkError.
   */
  checkAttachments(): readonly Damage[] {
    return this.active ? this.integrity.check() : [];
  }

  /** The number of calls of `auditNext` that it takes to compare all maps. */
  get audits(): number {
    return this.integrity.mapCount;
  }

  /** Compares what one map holds with what was programmed, each in turn. Throws SysError. */
  auditNext(): readonly Damage[] {
    return this.active ? this.integrity.audit() : [];
  }

  /**
   * Lets go of the programs: they stay attached as long as their pins do. From now on nothing is attached,
   * checked or repaired.
   */
  release(): void {
    this.released = true;
    this.active = false;
    this.links[Symbol.dispose]();
  }

  /** Makes again what is damaged. Returns what is left, and why. Throws SysError, NetlinkError. */
  repair(damages: readonly Damage[]): { left: readonly Damage[]; error: Error | undefined } {
    return this.integrity.repair(damages);
  }

  /** Flows that are translated on the node's devices now, whose number is higher than `after`. */
  flows(after?: number): Generator<FlowEntry> {
    return this.nat.flows(after);
  }

  /**
   * Ends the flow with that number if it `fits` as it is now; its next packet belongs to no flow. Throws
   * SysError.
   */
  endFlow(number: number, fits: (flow: FlowEntry) => boolean): boolean {
    return this.nat.endFlow(number, fits);
  }

  natStatus(): NatStatus {
    return this.nat.status();
  }

  /** How many ports stand for clients, by the backend that sees them, most first. */
  natDestinations(): PortUse[] {
    return this.nat.destinations();
  }

  /** Packets dropped on the node's devices, by reason, since the maps were made. */
  drops(): { reason: string; count: number }[] {
    return dropCounts(this.map('drops'));
  }

  /** Calls `onDrop` for each packet that is dropped on the node's devices, until disposed. One at a time. */
  watchDrops(onDrop: (drop: DropNotice) => void): Disposable {
    const { bpf, platform } = this.options;
    this.dropWatch?.[Symbol.dispose]();
    this.dropWatch = watchDrops(bpf, platform, this.map('drop_events'), this.nat, onDrop);
    return this.dropWatch;
  }

  status(): DatapathStatus {
    const { bpf } = this.options;
    const xdp = this.xdpDevices.states();
    const { services, servicesMax, backends } = this.options.sizes;
    const mostServices = Math.max(services, servicesMax ?? 0);
    const most: Readonly<Record<string, number>> =
      servicesMax === undefined
        ? {}
        : { services: mostServices, addresses: mostServices + backends };
    const size: Readonly<Record<string, number>> = {
      ...this.services.size,
      nat_flows: this.nat.used,
      source_ranges: this.ranges.size,
      service_refused: this.serviceRefusals.size,
    };
    return {
      abi: heddleAbi.currentAbi,
      maps: this.pinned
        .filter(({ map }) => size[map.info.name] !== undefined)
        .map(({ map: { info } }) => ({
          name: info.name,
          entries: size[info.name]!,
          // One that grows is full where it may grow no more.
          maxEntries: most[info.name] ?? info.maxEntries,
        })),
      links: [
        ...Array.from(this.loaded.programs.keys(), (hook) => ({
          ...{ hook, attached: this.links.isAttached(hook) },
        })),
        ...this.devices.states(),
        ...xdp
          .filter(({ mode, isOptional }) => mode !== 'off' || !isOptional)
          .map(({ device, mode }) => ({ hook: `node_xdp@${device}`, attached: mode !== 'off' })),
      ],
      missing: missingFeatures(bpf),
      adopted: this.adopted,
      repaired: this.services.repaired,
      migrated: this.pinned.flatMap(({ map, differences }) =>
        differences.map((difference) => `${map.info.name}: ${difference}`),
      ),
      socketsDestroyed: this.stale.destroyed,
      nat: this.natStatus(),
      xdp,
      traffic: this.services.totals,
      tracked: this.nat.tracked,
    };
  }

  /** Counters of a row's backends; empty when the row isn't in force. */
  backendCounters(rowKey: string): readonly BackendCounters[] {
    return this.services.backendCounters(rowKey) ?? [];
  }

  /** What was refused of a row's service, by reason, most first; empty when the row isn't in force. */
  rowRefusals(rowKey: string): RefusalCount[] {
    const id = this.services.idOf(rowKey);
    return this.serviceRefusals
      .all()
      .filter(({ service }) => service === id)
      .map(({ reason, count }) => ({ reason, count }));
  }

  /** What was refused of all services, with the key of the row that has each, most first. */
  *serviceRefusalCounts(): Generator<RefusalCount & { readonly rowKey: string }> {
    for (const { service, reason, count } of this.serviceRefusals.all()) {
      const rowKey = this.services.keyOf(service);
      if (rowKey !== undefined) yield { rowKey, reason, count };
    }
  }

  /** Connections and datagrams that were refused, by reason, since the maps were made. */
  refusals(): { reason: string; count: number }[] {
    const counters = this.map('refusals');
    return Object.entries(reasonText).map(([number, reason]) => {
      const values = counters.lookup(Uint8Array.of(Number(number), 0, 0, 0))!;
      const perCpu = new BigUint64Array(values.slice().buffer);
      return { reason, count: Number(perCpu.reduce((sum, count) => sum + count, 0n)) };
    });
  }

  /** Closes the descriptors; everything stays in force. */
  [Symbol.dispose](): void {
    this.dropWatch?.[Symbol.dispose]();
    this.opened[Symbol.dispose]();
  }

  /** The maps of both objects; one that both have is of the first. */
  private openMaps(specs: readonly ObjectSpec[]): PinnedMap[] {
    const { bpf } = this.options;
    const opened = new Map<string, PinnedMap>();
    for (const { btf: types, maps } of specs) {
      const btf = types && bpf.btfLoad(btfForKernel(types));
      try {
        for (const spec of maps.values()) {
          if (spec.contents !== undefined || opened.has(spec.name)) continue;
          const map = openMap(bpf, spec, this.folders, btf);
          opened.set(spec.name, map);
          this.opened.use(map.map);
        }
      } finally {
        if (btf !== undefined) bpf.close(btf);
      }
    }
    this.keepWhatFits(specs[0]!, opened);
    return [...opened.values()];
  }

  /** Takes an empty map in place of one that was opened, because of `reasons`. */
  private renew(
    name: string,
    spec: ObjectSpec,
    opened: Map<string, PinnedMap>,
    ...reasons: readonly string[]
  ): void {
    const { map, differences } = opened.get(name)!;
    map[Symbol.dispose]();
    opened.set(name, {
      map: this.opened.use(BpfMap.create(this.options.bpf, spec.maps.get(name)!)),
      pinAt: `${this.folders[0]!.maps}/${name}`,
      differences: [...differences, ...reasons],
    });
  }

  /**
   * Flows name each other by their places in the table. When a smaller table lacks places that were
   * in use, all of them are given up: what is left of the connections is reset.
   */
  private keepWhatFits(spec: ObjectSpec, opened: Map<string, PinnedMap>): void {
    const { highWater } = decodeCtTable(opened.get('nat_table')!.map.lookup(new Uint8Array(4))!);
    if (highWater >= opened.get('nat_flows')!.map.info.maxEntries) {
      for (const name of ['nat_flows', 'nat_windows', 'nat_index', 'nat_table', ...countedFlows]) {
        this.renew(name, spec, opened, 'flows do not fit; the table begins anew');
      }
    } else if (opened.get('nat_index')!.differences.length > 0) {
      // Where a key is in it depends on its size.
      for (const name of ['nat_index', ...countedFlows]) this.renew(name, spec, opened);
    }
  }

  private map(name: string): BpfMap {
    return this.pinned.find(({ map }) => map.info.name === name)!.map;
  }

  /** An array that only the control plane writes, in memory. */
  private mapped(map: BpfMap): MappedArray {
    const array = this.opened.use(new ProgrammedArray(map));
    this.contents.push(array);
    return array;
  }

  /** A map that only the control plane writes, but for the word at `theirs`. */
  private programmed(map: BpfMap, theirs?: number): ProgrammedMap {
    const [seed] = new Uint32Array(this.options.platform.randomBytes(4).slice().buffer);
    const programmed = new ProgrammedMap(map, seed!, theirs);
    this.contents.push(programmed);
    return programmed;
  }

  private setDevices(): void {
    this.devices.set(this.nodeDevices);
    this.xdpDevices.set(this.nodeDevices);
  }

  /**
   * Removes the pins of other layouts. They may hold programs at the node's interfaces, so these must have this
   * version's first, or external connections would find no program for a moment and be reset by the stack.
   */
  private removeOtherLayouts(): void {
    for (const folder of this.otherFolders.splice(0)) removeFolder(this.options.platform, folder);
  }

  /** Attaches what is not attached. Throws SysError, NetlinkError. */
  private attach(): void {
    const { bpf, platform, cgroup } = this.options;
    attachHooks(bpf, platform, this.specs.socket, this.loaded, cgroup, this.links);
    if (this.nodeDevices.length > 0) this.setDevices();
  }

  /** The sizes to start with: maps that have grown stay as they are. */
  private presentSizes(): DatapathSizes {
    const { bpf, sizes } = this.options;
    const present = pinnedSize(bpf, this.folders, 'services') ?? 0;
    const services = Math.max(sizes.services, Math.min(present, this.largest));
    return { ...sizes, services };
  }

  /**
   * Entries that the map of frontends has at most: an eighth more than frontends are wanted, so that a change
   * can be written before what it replaces is deleted.
   */
  private get largest(): number {
    const { services, servicesMax = 0 } = this.options.sizes;
    return servicesMax === 0 ? services : Math.ceil(Math.max(services, servicesMax) * 1.125);
  }

  /**
   * Has the programs go on with larger maps of frontends and addresses. The new maps hold the same when the
   * programs switch to them, one after the other, and nothing is written in between, so no connection
   * notices. When the agent dies in between, the next one finds the old maps, which hold the same, too.
   */
  private enlarge(entries: number): void {
    const { bpf, platform } = this.options;
    const present = this.map('services').info.maxEntries;
    const services = Math.min(this.largest, Math.max(2 * present, Math.ceil(entries * 1.25)));
    if (services <= present) return;
    const sizes = { ...this.options.sizes, services };
    const { socket, node, xdp } = this.specs;
    const specs: Specs = {
      socket: withFrontends(socket, sizes),
      node: withFrontends(node, sizes),
      xdp: xdp && withFrontends(xdp, sizes),
    };
    const before = { socket: this.loaded, node: this.node, xdp: this.xdp };
    const [larger, loaded] = allOrNothing((opened) => {
      const made = this.resized(specs.socket, opened);
      const maps = { ...this.maps };
      for (const { map } of made) maps[map.info.name] = map;
      const programs = loadAll(bpf, specs, maps, opened);
      try {
        this.switchTo(programs);
      } catch (error) {
        this.switchTo(before);
        throw error;
      }
      return [made, programs] as const;
    });
    for (const part of [...larger.map(({ map }) => map), loaded.socket, loaded.node]) {
      this.opened.use(part);
    }
    if (loaded.xdp) this.opened.use(loaded.xdp);
    this.specs = specs;
    const old = larger.map(({ map: { info } }) => this.maps[info.name]!);
    for (const { map } of larger) {
      this.maps[map.info.name] = map;
      this.frontendMaps[map.info.name as FrontendMap].moveTo(map);
    }
    const taken = new Map(larger.map((each) => [each.map.info.name, each]));
    this.pinned = this.pinned.map((each) => taken.get(each.map.info.name) ?? each);
    if (this.active) {
      pinMaps(platform, this.folders[0]!, larger);
      this.integrity.made();
    }
    for (const part of [before.socket, before.node, before.xdp, ...old]) part?.[Symbol.dispose]();
    platform.log('info', 'the maps of frontends were made larger', { before: present, services });
  }

  /** Larger maps of frontends and addresses, which hold what the present ones do. */
  private resized({ btf: types, maps }: ObjectSpec, opened: Disposal): PinnedMap[] {
    const { bpf } = this.options;
    const btf = types && bpf.btfLoad(btfForKernel(types));
    try {
      return frontendMapNames.map((name) => {
        const spec = maps.get(name)!;
        const made = resizedMap(bpf, spec, this.maps[name]!, this.folders[0]!, btf);
        opened.use(made.map);
        return made;
      });
    } finally {
      if (btf !== undefined) bpf.close(btf);
    }
  }

  /** Goes on with these programs in place of those that are attached. Throws SysError, NetlinkError. */
  private switchTo({ socket, node, xdp }: Loaded): void {
    this.loaded = socket;
    this.node = node;
    this.xdp = xdp;
    this.devices.use(node);
    this.xdpDevices.use(xdp);
    this.nat.use(node);
    if (!this.active) return;
    this.attach();
    // Last, as the timer keeps the program that has set it.
    this.nat.startSweeping();
  }

  /** The order matters when the agent dies in between: pins are followed at the next start. */
  private activate(): void {
    if (this.released) return;
    const { bpf, platform, cgroup } = this.options;
    attachHooks(bpf, platform, this.specs.socket, this.loaded, cgroup, this.links);
    const isNew = ({ map, pinAt }: PinnedMap) =>
      pinAt !== undefined && ['nat_index', ...countedFlows].includes(map.info.name);
    if (this.pinned.some(isNew)) this.nat.enterFlows();
    this.nat.startSweeping();
    if (this.isNodeSet) this.setDevices();
    pinMaps(platform, this.folders[0]!, this.pinned);
    if (this.isNodeSet) this.removeOtherLayouts();
    this.integrity.made();
    this.active = true;
    this.open.set(this.services.countsOpen);
  }
}

/** Loads the programs of all objects. Throws SysError, VerifierError. */
function loadAll(
  bpf: Bpf,
  specs: Specs,
  maps: Readonly<Record<string, BpfMap>>,
  opened: Disposal,
): Loaded {
  const load = (spec: ObjectSpec) => opened.use(loadShared(bpf, spec, maps));
  return {
    socket: load(specs.socket),
    node: load(specs.node),
    xdp: specs.xdp && load(specs.xdp),
  };
}

function missingFeatures(bpf: Bpf): DatapathStatus['missing'] {
  return optionalFeatures
    .filter(({ feature }) => !features(bpf).has(feature))
    .map(({ feature, instead }) => ({ feature, since: featureSince(feature), instead }));
}
