import { type LoadedObject, mountBpffs, type ObjectSpec, readObject } from '@heddle/ebpf';
import { allOrNothing, type Disposal, type Platform } from '@heddle/sys';
import { configuredNetkit, configuredNode, configuredSocket } from './configured-objects.ts';
import { ProgrammedContents } from './core/audit.ts';
import { DatapathMaps } from './core/datapath-maps.ts';
import { Integrity } from './core/integrity.ts';
import { loadShared } from './core/load-shared.ts';
import { MappedArray } from './core/mapped-array.ts';
import { PinnedLinks } from './core/pinned-links.ts';
import { type PinFolder, pinFolders, removeFolder } from './core/pinned-maps.ts';
import { loadPrograms, type PerObject, Programs } from './core/programs.ts';
import { type DatapathOptions, hasPolicy } from './datapath-options.ts';
import { DevicePrograms } from './devices/device-programs.ts';
import type { NodeDevice } from './devices/node-devices.ts';
import { DnsAnswers } from './events/dns-answers.ts';
import { Drops } from './events/drops.ts';
import { ctWatched, heddleAbi } from './generated/abi.ts';
import { needsEnteredFlows, renewUnfitFlowMaps } from './nat/flow-migration.ts';
import { FlowTable } from './nat/flow-table.ts';
import { NodeRoutes } from './node-routes/node-routes.ts';
import { NetkitLinks } from './pods/netkit-links.ts';
import { PodPrograms } from './pods/pod-programs.ts';
import { PodRates } from './pods/pod-rates.ts';
import { PodTables } from './pods/pod-tables.ts';
import { PolicyTables } from './policy/policy-tables.ts';
import { Verdicts } from './policy/verdicts.ts';
import { growFrontends, largestSizes, presentSizes } from './services/frontend-growth.ts';
import { ServiceOperations } from './services/service-operations.ts';
import { attachHooks, hasHooks } from './sockets/hooks.ts';
import { kernelFields } from './sockets/kernel-fields.ts';
import { OpenConnections } from './sockets/open-connections.ts';
import { StaleSockets } from './sockets/stale-sockets.ts';
import { type DatapathStatus, missingFeatures } from './status.ts';

/**
 * Takes over what an earlier agent programmed, or programs a datapath without services. An agent that dies leaves
 * everything as it is; the next one adopts it. When a map's layout or size has changed, new maps are filled first,
 * and the programs switch to them with the first `services.prune`. Throws SysError, VerifierError, NotSupported;
 * then nothing is left open.
 */
export function openDatapath(options: DatapathOptions): Datapath {
  return allOrNothing((opened) => new Datapath(options, opened));
}

/** Opens the parts of the datapath, attaches its programs and closes all of it. Each part has its own methods. */
export class Datapath implements Disposable {
  readonly services: ServiceOperations;
  /** The flow table of the node's network interfaces. */
  readonly nat: FlowTable;
  readonly devices: DevicePrograms;
  /** The paths to the pods of other nodes. */
  readonly nodeRoutes: NodeRoutes;
  /** The pods of this node, where Heddle is their network. */
  readonly pods: PodPrograms;
  /** The entries of these pods in the maps. */
  readonly podTables: PodTables;
  /** The limits of these pods. */
  readonly bandwidth: PodRates;
  /** The network policies of these pods; undefined where the options have none. */
  readonly policy: PolicyTables | undefined;
  /** The verdicts of network policies; undefined where the options have none. */
  readonly verdicts: Verdicts | undefined;
  readonly drops: Drops;
  readonly dnsAnswers: DnsAnswers;
  readonly integrity: Integrity;
  /** The loaded programs; public for test runs. */
  readonly programs: Programs;
  readonly #options: DatapathOptions;
  readonly #opened: Disposal;
  /** This layout's folder first. */
  readonly #folders: readonly PinFolder[];
  /** Those of other layouts, until the node's interfaces have the programs of this one. */
  readonly #otherFolders: PinFolder[];
  readonly #maps: DatapathMaps;
  readonly #differences: readonly string[];
  readonly #links: PinnedLinks;
  readonly #podTables: PodTables;
  readonly #staleSockets: StaleSockets;
  readonly #openConnections: OpenConnections;
  /** `waiting`: an earlier agent's programs run until the new maps hold everything. */
  #phase: 'waiting' | 'active' | 'released' = 'waiting';

  /** Everything that this opens goes into `opened`, which the caller releases when this throws. */
  constructor(options: DatapathOptions, opened: Disposal) {
    const { platform, bpf, objects, xdp = 'off' } = options;
    this.#options = options;
    this.#opened = opened;
    mountBpffs(platform, options.bpffs);
    this.#folders = pinFolders(platform, options.bpffs);
    this.#otherFolders = this.#folders.slice(1);
    const specs = configuredObjects(options, this.#folders);
    const maps = new DatapathMaps(bpf, this.#folders, [specs.socket, specs.node], opened);
    renewUnfitFlowMaps(maps);
    this.#maps = maps;
    this.#differences = maps.differences;
    this.programs = new Programs(specs, loadPrograms(bpf, specs, maps.byName, opened));
    const contents = new ProgrammedContents(platform, opened);
    const stale = {
      bpf,
      platform,
      spec: readObject(objects('stale'), 'stale.o'),
      maps: maps.byName,
    };
    const { terminateTcp } = options.options;
    this.#staleSockets = opened.use(new StaleSockets({ ...stale, terminateTcp }));
    this.#openConnections = new OpenConnections({ ...stale, folder: this.#folders[0]! });
    this.services = new ServiceOperations({
      platform,
      maps,
      contents,
      opened,
      staleSockets: this.#staleSockets,
      openConnections: this.#openConnections,
      sourceRanges: options.sourceRanges ?? 'everywhere',
      makeRoom:
        options.sizes.servicesMax === undefined ? undefined : (entries) => this.#grow(entries),
      activate: () => this.#activate(),
    });
    this.nat = opened.use(
      new FlowTable({
        platform,
        programs: this.programs,
        maps,
        sources: contents.map(maps.get('nat_sources')),
        roles: this.services.roles,
        ports: options.nat.ports,
      }),
    );
    contents.all.push(this.nat.programmed);
    this.#links = opened.use(new PinnedLinks(bpf, platform, this.#folders));
    this.devices = new DevicePrograms({
      bpf,
      platform,
      programs: this.programs,
      links: this.#links,
      xdpMode: xdp,
      roles: contents.map(maps.get('node_devices')),
      linkAddresses: contents.map(maps.get('xdp_devices')),
    });
    this.nodeRoutes = new NodeRoutes({
      ...{ platform, programs: this.programs },
      ranges: contents.map(maps.get('node_ranges')),
      tunnel: contents.map(maps.get('tunnel')),
      noMasquerade: contents.map(maps.get('no_masquerade')),
      useSources: (addresses) => this.nat.setRouters(addresses),
      roles: this.services.roles,
    });
    const tables = new PodTables(
      contents.array(maps.get('pods')),
      contents.array(maps.get('pod_devices')),
    );
    this.podTables = tables;
    this.pods = new PodPrograms({
      platform,
      programs: this.programs,
      tables,
      netkit: new NetkitLinks(bpf, this.#links, () => this.#netkitPrograms()),
      detachedLinks: () => this.#links.detached(),
      endFlows: (addresses) => this.nat.endFlowsOf(addresses),
    });
    const rates = opened.use(new MappedArray(maps.get('pod_rates')));
    this.bandwidth = new PodRates(rates, tables);
    this.#podTables = tables;
    const policy = hasPolicy(options.network)
      ? opened.use(openPolicy(platform, { maps, contents, tables }))
      : undefined;
    this.policy = policy;
    this.verdicts =
      policy &&
      opened.use(
        new Verdicts({
          ...{ bpf, ring: maps.get('policy_verdicts') },
          setWatched: (watched) => policy.setWatched(watched),
        }),
      );
    this.drops = opened.use(
      new Drops({
        bpf,
        counters: maps.get('drops'),
        refusals: maps.get('refusals'),
        events: maps.get('drop_events'),
        setWatched: (watched) => this.nat.setWatched(ctWatched.drops, watched),
      }),
    );
    this.dnsAnswers = opened.use(
      new DnsAnswers({
        ...{ bpf, ring: maps.get('dns_answers') },
        setWatched: (watched) => this.nat.setWatched(ctWatched.dns, watched),
      }),
    );
    this.integrity = new Integrity({
      platform,
      bpf,
      bpffs: options.bpffs,
      folder: this.#folders[0]!,
      cgroup: options.cgroup,
      maps,
      links: this.#links,
      devices: this.devices,
      nodeRoutes: this.nodeRoutes,
      pods: this.pods,
      contents: contents.all,
      isActive: () => this.#phase === 'active',
      attach: () => this.#attach(),
      startSweeping: () => this.nat.startSweeping(),
    });
    const isAttached = hasHooks(bpf, this.#folders, this.programs.socket.programs.keys());
    // Flows of programs that did not write the map may be replied to from any address.
    if (isAttached && maps.isUnpinned('reply_sources')) {
      using memory = maps.get('reply_sources').mmap();
      memory.bytes.fill(0xff);
    }
    // New maps wait until they hold everything, unless there is nothing that they would replace.
    if (this.#differences.length === 0 || !isAttached) this.#activate();
  }

  /** True when services of an earlier agent were found programmed. */
  get adopted(): boolean {
    return this.services.adopted;
  }

  /**
   * Sets the network interfaces that packets are translated at, and the node's addresses, the preferred ones first:
   * SNAT uses them towards backends on other nodes. To be called in the interfaces' network namespace. Throws SysError,
   * NoRoom, NetlinkError, RangeError.
   */
  setNode(devices: readonly NodeDevice[], addresses: readonly string[]): void {
    this.nat.setAddresses(addresses);
    this.devices.set(devices);
    if (this.#phase === 'active') this.#removeOtherLayouts();
  }

  /** Returns the state of all parts. To be called in the interfaces' network namespace. Throws SysError, NetlinkError. */
  status(): DatapathStatus {
    const { bpf, sizes } = this.#options;
    const entries: Readonly<Record<string, number>> = {
      ...this.services.sizes,
      ...this.nodeRoutes.sizes,
      ...this.policy?.sizes,
      nat_flows: this.nat.used,
    };
    const largest = largestSizes(sizes);
    const hooks = Array.from(this.programs.socket.programs.keys(), (hook) => ({
      hook,
      attached: this.#links.isAttached(hook),
    }));
    return {
      abi: heddleAbi.currentAbi,
      maps: this.#maps
        .all()
        .map(({ info: { name, maxEntries } }) => ({ name, maxEntries }))
        .filter(({ name }) => entries[name] !== undefined)
        .map(({ name, maxEntries }) => ({
          name,
          entries: entries[name]!,
          // A map that grows is full when it has its largest size.
          maxEntries: largest[name] ?? maxEntries,
        })),
      links: [
        ...hooks,
        ...this.devices.states(),
        ...this.nodeRoutes.states(),
        ...this.pods.states(),
      ],
      missing: missingFeatures(bpf),
      adopted: this.adopted,
      repaired: this.services.repaired,
      migrated: this.#differences,
      socketsDestroyed: this.#staleSockets.destroyed,
      nat: this.nat.status(),
      xdp: this.devices.xdpStates(),
      traffic: this.services.totals,
      tracked: this.nat.tracked,
    };
  }

  /**
   * Closes the links: the programs stay attached as long as the pins exist. From now on nothing is attached, checked
   * or repaired.
   */
  release(): void {
    this.#phase = 'released';
    this.devices.release();
    this.nodeRoutes.release();
    this.pods.release();
    this.policy?.release();
    this.#openConnections.release();
    this.#links[Symbol.dispose]();
  }

  /** Closes the descriptors; what is programmed stays. */
  [Symbol.dispose](): void {
    this.#opened[Symbol.dispose]();
  }

  /** The order matters when the agent dies in between: the next start follows the pins. */
  #activate(): void {
    if (this.#phase !== 'waiting') return;
    const { platform } = this.#options;
    this.#attachHooks();
    if (needsEnteredFlows(this.#maps)) this.nat.enterFlows();
    this.nat.startSweeping();
    this.devices.attach();
    this.nodeRoutes.attach();
    this.pods.attach();
    this.#maps.pin(platform);
    if (this.devices.isSet) this.#removeOtherLayouts();
    this.integrity.noteMade();
    this.#phase = 'active';
    this.#openConnections.attach();
    if (this.policy) this.policy.activate();
    else this.#podTables.removePolicy([...this.#podTables.policed().keys()]);
  }

  /**
   * Removes the pins of other layouts. They may hold programs at the node's interfaces, so these must have this
   * version's first, or external connections would find no program for a moment and be reset by the stack.
   */
  #removeOtherLayouts(): void {
    for (const folder of this.#otherFolders.splice(0)) removeFolder(this.#options.platform, folder);
  }

  /** Attaches the programs that are not attached. Throws SysError, NetlinkError. */
  #attach(): void {
    this.#attachHooks();
    this.devices.attach();
    this.nodeRoutes.attach();
    this.pods.attach();
  }

  #attachHooks(): void {
    const { bpf, platform, cgroup } = this.#options;
    const { specs, socket } = this.programs;
    attachHooks({
      bpf,
      platform,
      spec: specs.socket,
      loaded: socket,
      cgroup,
      links: this.#links,
    });
  }

  /** Returns the programs of netkit interfaces, and loads them before. Throws SysError, VerifierError. */
  #netkitPrograms(): LoadedObject {
    const { specs, loaded } = this.programs;
    if (loaded.netkit) return loaded.netkit;
    const spec = configuredNetkit(specs.pod!, this.#options);
    const netkit = this.#opened.use(loadShared(this.#options.bpf, spec, this.#maps.byName));
    this.programs.replace({ ...specs, netkit: spec }, { ...loaded, netkit });
    return netkit;
  }

  #grow(entries: number): void {
    const { bpf, platform, sizes } = this.#options;
    const isActive = this.#phase === 'active';
    growFrontends(entries, {
      bpf,
      platform,
      sizes,
      maps: this.#maps,
      programs: this.programs,
      frontends: this.services.frontends,
      opened: this.#opened,
      attach: () => {
        if (!isActive) return;
        this.#attach();
        // This comes last, as the timer keeps the program that has set it.
        this.nat.startSweeping();
      },
      pin: () => {
        if (!isActive) return;
        this.#maps.pin(platform);
        this.integrity.noteMade();
      },
    });
  }
}

/** Opens the maps of network policies. Throws SysError. */
function openPolicy(
  platform: Platform,
  {
    maps,
    contents,
    tables,
  }: {
    readonly maps: DatapathMaps;
    readonly contents: ProgrammedContents;
    readonly tables: PodTables;
  },
): PolicyTables {
  return new PolicyTables({
    platform,
    state: contents.array(maps.get('policy_state')),
    rules: contents.parts(maps.get('policy_rules')),
    subjects: contents.parts(maps.get('policy_subjects')),
    peers: contents.map(maps.get('policy_peers')),
    ranges: contents.map(maps.get('policy_ranges')),
    peerVectors: contents.array(maps.get('peer_vectors')),
    ports: contents.array(maps.get('policy_ports')),
    portVectors: contents.array(maps.get('port_vectors')),
    names: {
      names: contents.map(maps.get('policy_names')),
      classes: contents.parts(maps.get('name_classes')),
      state: contents.array(maps.get('dns_state')),
      resolvers: contents.map(maps.get('dns_resolvers')),
    },
    pods: tables,
  });
}

/** Reads the objects that are attached, with constants and sizes as the options want them. Throws SysError, ElfError. */
function configuredObjects(
  options: DatapathOptions,
  folders: readonly PinFolder[],
): PerObject<ObjectSpec> {
  const { bpf, platform, objects, xdp = 'off' } = options;
  const read = (name: string) => readObject(objects(name), `${name}.o`);
  const sized = { ...options, sizes: presentSizes(bpf, folders, options.sizes) };
  return {
    socket: configuredSocket(read('socket'), sized, kernelFields(platform, bpf)),
    node: configuredNode(read('node'), sized),
    xdp: xdp === 'off' ? undefined : configuredNode(read('xdp'), sized),
    pod: options.network && configuredNode(read('pod'), sized),
    netkit: undefined,
  };
}
