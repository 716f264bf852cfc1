import {
  attachFilter,
  filterProgram,
  findLink,
  linksOfBlocks,
  NetlinkSocket,
  useBlocks,
} from '@heddle/netlink';
import { type Platform, parseIp } from '@heddle/sys';
import type { Damage } from '../core/audit.ts';
import type { Programs } from '../core/programs.ts';
import { filterPlace } from '../devices/node-devices.ts';
import type { NetkitLinks } from './netkit-links.ts';
import type { PodTables, ProgrammedPod } from './pod-tables.ts';

/**
 * The blocks of filters that the clsact qdiscs of all pod interfaces of veth share. A new version of a program takes the place
 * of the one before at all of them at once, and other tools cannot remove the filter of a single interface. The
 * numbers are `hedd` and `hede` in ASCII.
 */
export const podBlocks = { ingress: 0x68656464, egress: 0x68656465 } as const;

/** The filter of each block, and the program that it runs. */
export const podFilters = [
  { program: 'from_pod', place: { ...filterPlace, block: podBlocks.ingress } },
  { program: 'to_pod', place: { ...filterPlace, block: podBlocks.egress } },
] as const;

/** The programs and maps of pods. */
export interface PodParts {
  readonly platform: Platform;
  readonly programs: Programs;
  readonly tables: PodTables;
  readonly netkit: NetkitLinks;
  /** Returns the links of all parts of the datapath that are detached. */
  readonly detachedLinks: () => readonly Damage[];
  /** Ends the flows of pods without a service, by their addresses of 16 bytes. */
  readonly endFlows: (addresses: readonly Uint8Array[]) => void;
}

/**
 * The pods of this node: their entries in the maps, and the programs at their interfaces. What is programmed stays when
 * the agent ends. Methods are called in the interfaces' network namespace.
 */
export class PodPrograms {
  readonly #platform: Platform;
  readonly #programs: Programs;
  readonly #tables: PodTables;
  readonly #netkit: NetkitLinks;
  readonly #detachedLinks: PodParts['detachedLinks'];
  readonly #endFlows: PodParts['endFlows'];
  #attaches = false;
  /** True when the agent has named a pod. Until then the interfaces keep the program of an earlier agent. */
  #isUsed = false;
  /** The ids of the programs that this agent has attached, by name. */
  readonly #attachedIds = new Map<string, number>();

  constructor({ platform, programs, tables, netkit, detachedLinks, endFlows }: PodParts) {
    this.#endFlows = endFlows;
    this.#netkit = netkit;
    this.#detachedLinks = detachedLinks;
    this.#platform = platform;
    this.#programs = programs;
    this.#tables = tables;
  }

  /**
   * Programs a pod and attaches the programs to its interface, which is not up yet. Replaces what the interface had.
   * Throws SysError, NetlinkError, NoRoom, RangeError if the datapath has no pod network; for netkit VerifierError and
   * NotSupported, too.
   */
  set(pod: ProgrammedPod): void {
    const { pod: loaded } = this.#programs;
    if (!loaded) throw new RangeError('program a pod: the datapath has no pod network');
    // The program of an earlier agent stays at interfaces that it had until this agent's maps are complete.
    const attaches = this.#attaches || !this.#tables.has(pod.ifindex);
    this.#tables.set(pod);
    this.#isUsed = true;
    using socket = new NetlinkSocket(this.#platform);
    const namespace = findLink(socket, pod.ifindex)?.peerNamespaceId;
    if (namespace !== undefined) this.#tables.setNamespace(pod.ifindex, namespace);
    if (!attaches) return;
    if (pod.kind === 'netkit') {
      this.#netkit.attach(pod.ifindex);
      return;
    }
    useBlocks(socket, pod.ifindex, podBlocks);
    // The blocks may be new ones.
    if (this.#filterDamages(socket).length > 0) this.#attachFilters(socket);
  }

  /** Returns sentences about what differs from what `set` programs, for each pod in turn. Throws NetlinkError. */
  problems(pods: readonly ProgrammedPod[]): string[][] {
    using socket = new NetlinkSocket(this.#platform);
    const attached = linksOfBlocks(socket, podBlocks);
    const hasFilters = attached.size > 0 && this.#filterDamages(socket).length === 0;
    return pods.map((pod) => [
      ...this.#tables.problems(pod),
      ...(this.#isAttached(pod.ifindex, attached) && (hasFilters || pod.kind === 'netkit')
        ? []
        : [`the programs are not attached to interface ${pod.ifindex}`]),
    ]);
  }

  /**
   * Removes the entries of an interface; the programs go with the interface. A missing one is fine. The next pod with
   * the address must not get replies to this one, nor count for its share of ports, so the flows end. Throws SysError.
   */
  remove(ifindex: number): void {
    this.#remove([ifindex]);
  }

  /** Removes the entries of all other interfaces. Throws SysError. */
  prune(ifindexes: ReadonlySet<number>): void {
    this.#remove([...this.#tables.ifindexes].filter((ifindex) => !ifindexes.has(ifindex)));
    this.#netkit.forget((ifindex) => !ifindexes.has(ifindex));
  }

  /** Returns true if an address finds room in the map. */
  hasRoom(address: string): boolean {
    return this.#tables.hasRoom(address);
  }

  /** Returns true if the kernel has interfaces of a kind. */
  supports(kind: ProgrammedPod['kind']): boolean {
    return kind !== 'netkit' || this.#netkit.isSupported;
  }

  /** Attaches the programs where they are missing, and from now on in `set`. Throws NetlinkError. */
  attach(): void {
    this.#attaches = true;
    if (!this.#isUsed) return;
    using socket = new NetlinkSocket(this.#platform);
    const attached = linksOfBlocks(socket, podBlocks);
    for (const ifindex of this.#existing(socket)) {
      if (this.#tables.kindOf(ifindex) === 'netkit') this.#netkit.attach(ifindex);
      else if (!attached.has(ifindex)) {
        useBlocks(socket, ifindex, podBlocks);
        attached.add(ifindex);
      }
    }
    if (attached.size > 0) this.#attachFilters(socket);
  }

  /** From now on nothing is attached. */
  release(): void {
    this.#attaches = false;
  }

  /** Returns what existing interfaces lack, given the links that are detached. Throws NetlinkError. */
  detached(links: readonly Damage[]): Damage[] {
    if (!this.#isUsed) return [];
    using socket = new NetlinkSocket(this.#platform);
    const attached = linksOfBlocks(socket, podBlocks);
    const damaged = this.#netkit.damaged(links);
    const missing = [...this.#tables.ifindexes].filter(
      (ifindex) => damaged.has(ifindex) || !this.#isAttached(ifindex, attached),
    );
    const damages = this.#existing(socket, missing).map(
      (ifindex): Damage => ({
        kind: 'hook',
        name: `programs of pods at interface ${ifindex}`,
        problem: 'is not attached',
      }),
    );
    // The blocks go with the last interface that uses them.
    if (attached.size > 0) damages.push(...this.#filterDamages(socket));
    return damages;
  }

  /** Returns the hooks of all pod interfaces, and whether they are attached. Throws NetlinkError. */
  states(): { hook: string; attached: boolean }[] {
    if (!this.#isUsed) return [];
    const attached = this.detached(this.#detachedLinks()).length === 0;
    return podFilters.map(({ program: hook }) => ({ hook, attached }));
  }

  #remove(ifindexes: readonly number[]): void {
    const addresses = ifindexes.flatMap((ifindex) =>
      this.#tables.addressesOf(ifindex).map((address) => parseIp(address)!),
    );
    const links = ifindexes.filter((ifindex) => this.#tables.kindOf(ifindex) === 'netkit');
    for (const ifindex of ifindexes) this.#tables.remove(ifindex);
    if (links.length > 0) this.#netkit.forget((ifindex) => links.includes(ifindex));
    if (addresses.length > 0) this.#endFlows(addresses);
  }

  /** Returns the interfaces that exist: the kernel removes the programs with their interface. */
  #existing(socket: NetlinkSocket, ifindexes: Iterable<number> = this.#tables.ifindexes): number[] {
    return [...ifindexes].filter((ifindex) => findLink(socket, ifindex) !== undefined);
  }

  /** Returns true if an interface has the links or the blocks of its kind; `attached` are those that have blocks. */
  #isAttached(ifindex: number, attached: ReadonlySet<number>): boolean {
    return this.#tables.kindOf(ifindex) === 'netkit'
      ? this.#netkit.isAttached(ifindex)
      : attached.has(ifindex);
  }

  #filterDamages(socket: NetlinkSocket): Damage[] {
    return podFilters.flatMap(({ program: name, place }): Damage[] => {
      const problem = filterProblem(filterProgram(socket, place), this.#attachedIds.get(name));
      return problem ? [{ kind: 'hook', name, problem }] : [];
    });
  }

  #attachFilters(socket: NetlinkSocket): void {
    for (const { program: name, place } of podFilters) {
      const program = this.#programs.pod!.program(name);
      attachFilter(socket, { ...place, program: program.fd, name });
      this.#attachedIds.set(name, program.info.id);
    }
  }
}

/** Returns what is wrong with the program of a filter, by its id. */
function filterProblem(found: number | undefined, wanted: number | undefined): string | undefined {
  if (found === undefined) return 'is not attached';
  return found === wanted ? undefined : 'runs a program that is not the agent’s';
}
