import type { BpfMap, Mapping } from '@heddle/ebpf';
import type { TunnelEnds } from '@heddle/services';
import { allOrNothing, formatIp, type Platform, parseIp } from '@heddle/sys';
import { ProgrammedFields, type ProgrammedMap } from '../core/audit.ts';
import type { DatapathMaps } from '../core/datapath-maps.ts';
import type { ReasonCount } from '../core/drop-reasons.ts';
import { keyText } from '../core/keyed-map.ts';
import type { Programs } from '../core/programs.ts';
import { evictionCounts, invalidSegmentCounts, unobservedCount } from '../events/flow-events.ts';
import { ctEntrySize, ctTableCodec, decodeCtEntry, decodeCtTable } from '../generated/abi.ts';
import type { AddressRoles, AddressUse } from '../services/address-roles.ts';
import { type PortRange, unansweredLimit } from './flow-options.ts';
import { type FlowEntry, podFlowsOf, readFlows } from './flows.ts';
import { type PortUse, portsByDestination } from './nat-ports.ts';
import { type DefaultSources, NatSources } from './nat-sources.ts';

export interface NatStatus {
  readonly flows: number;
  readonly maxFlows: number;
  /** The number of them that not both sides have confirmed. */
  readonly unanswered: number;
  /** The largest number of unconfirmed flows; for a new one beyond it the oldest is evicted. */
  readonly unansweredLimit: number;
  /** SNAT ports, towards each backend from each address of the node. */
  readonly ports: number;
  /** Largest share of them that is in use towards one backend, 0 to 1. */
  readonly portPressure: number;
  /** The backends towards which most of them are in use: at most 20, the fullest first. */
  readonly fullest: readonly PortUse[];
  /** Flows that were evicted for new ones since the maps were made, by why they were chosen. */
  readonly evicted: readonly ReasonCount[];
  /** TCP segments whose numbers no end of their connection can have sent, by flag. */
  readonly notBelieved: readonly ReasonCount[];
  /** Connections of pods without policies that had no room in the table, since the maps were made. */
  readonly unobserved: number;
}

const fullestListed = 20;
/** The number of attempts to end a flow that changes at the same time. */
const endAttempts = 8;
/** The size of struct __sk_buff (linux/bpf.h), and the offset of `cb` in it. */
const skbContextSize = 192;
const controlBlockOffset = 48;
/**
 * Offsets of the fields of `ct_table`. The control plane writes some of them in place, and the BPF programs the others.
 */
const fields = ctTableCodec.offsets;

/** The programs and maps that a flow table uses. */
export interface FlowTableParts {
  readonly platform: Platform;
  readonly programs: Programs;
  readonly maps: DatapathMaps;
  /** The map `nat_sources`. */
  readonly sources: ProgrammedMap;
  /** The roles of addresses; the node's own and other nodes' are among them. */
  readonly roles: AddressRoles;
  readonly ports: PortRange;
}

/** The flow table of the node's network interfaces. The BPF programs keep it; the control plane reads it and sets options. */
export class FlowTable implements Disposable {
  readonly #platform: Platform;
  readonly #programs: Programs;
  readonly #flows: BpfMap;
  readonly #events: BpfMap;
  readonly #counters: readonly BpfMap[];
  readonly #sources: NatSources;
  readonly #roles: AddressRoles;
  readonly #memory: Mapping;
  readonly #ports: PortRange;
  /** The fields of `nat_table` that the control plane writes. */
  readonly programmed: ProgrammedFields;
  #addresses: readonly string[] = [];
  /** The node's addresses in tunnels to the pods of other nodes. */
  #routers: readonly string[] = [];
  #tunnelSources: readonly string[] = [];
  /** The bits of `ctWatched`. */
  #watched = 0;
  #peers: readonly AddressUse[] = [];

  constructor({ platform, programs, maps, sources, roles, ports }: FlowTableParts) {
    this.#platform = platform;
    this.#programs = programs;
    this.#flows = maps.get('nat_flows');
    this.#events = maps.get('flow_events');
    this.#counters = [maps.get('nat_shares'), maps.get('nat_held')];
    this.#sources = new NatSources(sources, roles);
    this.#roles = roles;
    this.#ports = ports;
    this.#memory = allOrNothing((opened) => {
      const memory = opened.use(maps.get('nat_table').mmap());
      this.#keepSecret(memory);
      return memory;
    });
    this.programmed = new ProgrammedFields('nat_table', this.#memory);
    const secretEnd = fields.secret + 4 * decodeCtTable(this.#memory.bytes).secret.length;
    this.programmed.set(fields.secret, this.#memory.bytes.slice(fields.secret, secretEnd));
  }

  /** Gives a new table a secret. One that has flows keeps its own, by which they are found. */
  #keepSecret({ bytes }: Mapping): void {
    const { secret } = decodeCtTable(bytes);
    if (secret.some((word) => word !== 0)) return;
    const random = this.#platform.randomBytes(4 * secret.length);
    bytes.set(random, fields.secret);
  }

  /**
   * Sets the node's addresses, the preferred ones first: backends on other nodes see them as the clients'. Throws
   * SysError, NoRoom, and RangeError when there are more than the programs support.
   */
  setAddresses(addresses: readonly string[]): void {
    this.#addresses = addresses;
    const { ipv4, ipv6 } = this.#sources.set([...addresses, ...this.#routers]);
    this.#setWord(fields.sourceIpv4, ipv4);
    this.#setWord(fields.sourceIpv6, ipv6);
    this.#setTunnelSources(this.#tunnelSources);
  }

  /**
   * Sets the node's addresses in tunnels to the pods of other nodes, and returns their indices in `nat_sources`; 0: there is none
   * of the family. Throws as `setAddresses` does.
   */
  setRouters(addresses: readonly string[]): DefaultSources {
    this.#routers = addresses;
    this.setAddresses(this.#addresses);
    return {
      ipv4: this.#sources.indexOf(addresses, true),
      ipv6: this.#sources.indexOf(addresses, false),
    };
  }

  /**
   * Sets the ends of tunnels: `own`, this node's addresses that other nodes know it by, the preferred ones first, and
   * `peers`, the other nodes' addresses, whose tunnelled packets are accepted. Throws SysError, NoRoom.
   */
  setTunnelEnds({ peers, own }: TunnelEnds): void {
    const uses = peers.map((address) => ({
      address: keyText(parseIp(address)!),
      role: 'peer' as const,
    }));
    this.#roles.add(uses);
    this.#roles.drop(this.#peers);
    this.#peers = uses;
    this.#setTunnelSources(own);
  }

  #setTunnelSources(addresses: readonly string[]): void {
    this.#tunnelSources = addresses;
    const [ipv4, ipv6] = [true, false].map((family) => this.#sources.indexOf(addresses, family));
    // tunnelIpv6 is the next byte.
    this.#setHalf(fields.tunnelIpv4, ipv4! | (ipv6! << 8));
  }

  /** Sets whether the BPF programs write to a ring buffer; `ring` is a bit of `ctWatched`. */
  setWatched(ring: number, watched: boolean): void {
    this.#watched = watched ? this.#watched | ring : this.#watched & ~ring;
    this.#setWord(fields.watched, this.#watched);
  }

  /**
   * Sets whether netfilter tracks connections in the node's network namespace. Then packets to backends on this node
   * pass it, as their replies do. The setting outlives the agent.
   */
  setTracked(tracked: boolean): void {
    this.#setHalf(fields.nfTracked, tracked ? 1 : 0);
  }

  get tracked(): boolean {
    return decodeCtTable(this.#memory.bytes).nfTracked !== 0;
  }

  /** Starts the kernel's garbage collection with the code of this version. Throws SysError. */
  startSweeping(): void {
    this.#run('start_gc');
  }

  /** Inserts the flows of the table into the index, and counts them anew. Throws SysError. */
  enterFlows(): void {
    for (const map of this.#counters) {
      using memory = map.mmap();
      memory.bytes.fill(0);
    }
    this.#run('rebuild_ct_index');
  }

  /**
   * Ends the flow with that number if it `fits` as it is now; its next packet belongs to no flow. Returns false
   * when it does not fit, or changes at each attempt. Throws SysError.
   */
  endFlow(number: number, fits: (flow: FlowEntry) => boolean): boolean {
    const key = new Uint8Array(Uint32Array.of(number).buffer);
    // A packet in between sets another time of last use, which changes once in a second.
    for (let attempt = 0; attempt < endAttempts; attempt++) {
      const bytes = this.#flows.lookup(key)!;
      const [flow] = this.#read(bytes);
      if (!flow || !fits({ ...flow, number })) return false;
      const context = new Uint8Array(skbContextSize);
      const view = new DataView(context.buffer);
      view.setUint32(controlBlockOffset, number, true);
      view.setUint32(controlBlockOffset + 4, decodeCtEntry(bytes).stateWord, true);
      const program = this.#programs.node.program('flush_ct_entry');
      if (program.testRun({ data: new Uint8Array(64), context }).returnValue === 1) return true;
    }
    return false;
  }

  /** Ends the flows without a service from and to pods with these addresses of 16 bytes. Throws SysError. */
  endFlowsOf(addresses: readonly Uint8Array[]): void {
    if (this.used === 0) return;
    const keys = new Set(addresses.map(keyText));
    const texts = new Set(addresses.map(formatIp));
    const isWithoutService = new Set<FlowEntry['forwarding']>(['masquerade', 'direct']);
    for (const number of podFlowsOf(this.#copy(), keys)) {
      this.endFlow(
        number,
        ({ forwarding, client, backend }) =>
          isWithoutService.has(forwarding) && (texts.has(client) || texts.has(backend)),
      );
    }
  }

  #run(program: string): void {
    const { returnValue } = this.#programs.node
      .program(program)
      .testRun({ data: new Uint8Array(64) });
    if (returnValue !== 0) throw new Error(`run ${program}: it returned ${returnValue}`);
  }

  /** Returns the flows of the table whose number is higher than `after`. Throws SysError. */
  *flows(after = 0): Generator<FlowEntry> {
    yield* this.#read(this.#copy(), after + 1);
  }

  /** Returns the flows among entries of the table, from the `first` one on. */
  #read(entries: Uint8Array, first = 0): Generator<FlowEntry> {
    const ticks = Number((this.#platform.monotonicNs() >> 30n) & 0xffffn);
    return readFlows(entries, ticks, (source) => this.#sources.address(source), first);
  }

  /** Returns how many SNAT ports are in use, by the backend that sees them, most first. Throws SysError. */
  destinations(): PortUse[] {
    if (this.used === 0) return [];
    return portsByDestination(this.#copy(), this.#ports, (source) => this.#sources.address(source));
  }

  /** Throws SysError. */
  status(): NatStatus {
    const { used, unconfirmed } = decodeCtTable(this.#memory.bytes);
    const { maxEntries } = this.#flows.info;
    const ports = this.#ports.last - this.#ports.first + 1;
    const fullest = this.destinations().slice(0, fullestListed);
    return {
      flows: used,
      // The first entry is never used.
      maxFlows: maxEntries - 1,
      // Signed: flows of an earlier version may not have been counted.
      unanswered: Math.max(0, unconfirmed | 0),
      unansweredLimit: unansweredLimit(maxEntries),
      ports,
      portPressure: (fullest[0]?.used ?? 0) / ports,
      fullest,
      evicted: evictionCounts(this.#events),
      notBelieved: invalidSegmentCounts(this.#events),
      unobserved: unobservedCount(this.#events),
    };
  }

  /** The number of flows. */
  get used(): number {
    return decodeCtTable(this.#memory.bytes).used;
  }

  /** Returns a copy of the entries that were ever used. */
  #copy(): Uint8Array {
    const { highWater } = decodeCtTable(this.#memory.bytes);
    const count = Math.min(highWater + 1, this.#flows.info.maxEntries);
    using mapping = this.#flows.mmap(false, count);
    return mapping.bytes.slice(0, count * ctEntrySize);
  }

  #setWord(offset: number, value: number): void {
    this.programmed.set(offset, new Uint8Array(Uint32Array.of(value).buffer));
  }

  #setHalf(offset: number, value: number): void {
    this.programmed.set(offset, new Uint8Array(Uint16Array.of(value).buffer));
  }

  [Symbol.dispose](): void {
    this.#memory[Symbol.dispose]();
  }
}
