import type { BpfMap, LoadedObject, Mapping } from '@heddle/ebpf';
import { allOrNothing, type Platform } from '@heddle/sys';
import { ProgrammedFields, type ProgrammedMap } from '../core/audit.ts';
import {
  type EventCount,
  eventCounts,
  evictionText,
  notBelievedText,
} from '../events/flow-events.ts';
import { ctEntrySize, decodeCtEntry, decodeCtTable } from '../generated/abi.ts';
import type { AddressRoles } from '../services/address-roles.ts';
import type { PortRange } from './flow-options.ts';
import { unansweredLimit } from './flow-options.ts';
import { type FlowEntry, readFlows } from './flows.ts';
import { type PortUse, portsByDestination } from './nat-ports.ts';
import { NatSources } from './nat-sources.ts';

export interface NatStatus {
  readonly flows: number;
  readonly maxFlows: number;
  /** The number of them that not both sides have confirmed. */
  readonly unanswered: number;
  /** The largest number of unconfirmed flows; for a new one beyond it the oldest is evicted. */
  readonly unansweredLimit: number;
  /** Ports that stand for clients, towards each backend from each address of the node. */
  readonly ports: number;
  /** Largest share of them that is taken towards one backend, 0 to 1. */
  readonly portPressure: number;
  /** Towards which backends most of them are taken: at most 20, the fullest first. */
  readonly fullest: readonly PortUse[];
  /** Flows that gave way to new ones since the maps were made, by why it was they. */
  readonly evicted: readonly EventCount[];
  /** Segments of TCP whose numbers no end of their connection can have sent, by flag. */
  readonly notBelieved: readonly EventCount[];
}

const fullestListed = 20;
/** The number of attempts to end a flow that changes at the same time. */
const endAttempts = 8;
/** The size of struct __sk_buff (linux/bpf.h), and the offset of `cb` in it. */
const skbContextSize = 192;
const controlBlockOffset = 48;

/** The flow table of the node's devices, seen from user space: the kernel half keeps it by itself. */
export class NatTable implements Disposable {
  private readonly platform: Platform;
  private loaded: LoadedObject;
  private readonly flowMap: BpfMap;
  private readonly sources: NatSources;
  private readonly memory: Mapping;
  private readonly events: BpfMap;
  private readonly ports: PortRange;
  /** The fields of `nat_table` that the control plane writes. */
  readonly programmed: ProgrammedFields;
  private tunnelSources: readonly string[] = [];

  constructor(
    platform: Platform,
    maps: Readonly<Record<string, BpfMap>>,
    sources: ProgrammedMap,
    loaded: LoadedObject,
    roles: AddressRoles,
    ports: PortRange,
  ) {
    this.ports = ports;
    this.platform = platform;
    this.loaded = loaded;
    this.flowMap = maps.nat_flows!;
    this.events = maps.flow_events!;
    this.sources = new NatSources(sources, roles);
    this.memory = allOrNothing((opened) => {
      const memory = opened.use(maps.nat_table!.mmap());
      this.keepSecret(memory);
      return memory;
    });
    this.programmed = new ProgrammedFields('nat_table', this.memory);
    const secretEnd = secretOffset + 4 * decodeCtTable(this.memory.bytes).secret.length;
    this.programmed.set(secretOffset, this.memory.bytes.slice(secretOffset, secretEnd));
  }

  /** A table that is new gets a secret; by it the keys of one that has flows are found. */
  private keepSecret({ bytes }: Mapping): void {
    const { secret } = decodeCtTable(bytes);
    if (secret.some((word) => word !== 0)) return;
    const random = this.platform.randomBytes(4 * secret.length);
    bytes.set(random, secretOffset);
  }

  setAddresses(addresses: readonly string[]): void {
    const { ipv4, ipv6 } = this.sources.set(addresses);
    this.setWord(sourceIpv4Offset, ipv4);
    this.setWord(sourceIpv6Offset, ipv6);
    this.setTunnelSources(this.tunnelSources);
  }

  /** The node's addresses that other nodes know it by, the preferred ones first: tunnels begin there. */
  setTunnelSources(addresses: readonly string[]): void {
    this.tunnelSources = addresses;
    const [ipv4, ipv6] = [true, false].map((family) => this.sources.indexOf(addresses, family));
    this.setHalf(tunnelSourcesOffset, ipv4! | (ipv6! << 8));
  }

  /** Whether the kernel half shall write drops to `drop_events`. */
  setWatched(watched: boolean): void {
    this.setWord(watchedOffset, watched ? 1 : 0);
  }

  /** Whether netfilter tracks connections on this node. */
  setTracked(tracked: boolean): void {
    this.setHalf(trackedOffset, tracked ? 1 : 0);
  }

  get tracked(): boolean {
    return decodeCtTable(this.memory.bytes).nfTracked !== 0;
  }

  /** Starts the kernel's garbage collection with the code of this version. Throws SysError. */
  startSweeping(): void {
    this.run('start_gc');
  }

  /** Runs other programs from now on. */
  use(loaded: LoadedObject): void {
    this.loaded = loaded;
  }

  /** Enters the flows that there are in an index that is new. Throws SysError. */
  enterFlows(): void {
    this.run('rebuild_ct_index');
  }

  /**
   * Ends the flow at a place of the table if it `fits` as it is now. False: it does not, or it changes all
   * the time. Throws SysError.
   */
  endFlow(number: number, fits: (flow: FlowEntry) => boolean): boolean {
    const key = new Uint8Array(Uint32Array.of(number).buffer);
    // A packet in between sets another time of last use, which changes once in a second.
    for (let attempt = 0; attempt < endAttempts; attempt++) {
      const bytes = this.flowMap.lookup(key)!;
      const [flow] = this.read(bytes);
      if (!flow || !fits({ ...flow, number })) return false;
      const context = new Uint8Array(skbContextSize);
      const view = new DataView(context.buffer);
      view.setUint32(controlBlockOffset, number, true);
      view.setUint32(controlBlockOffset + 4, decodeCtEntry(bytes).stateWord, true);
      const program = this.loaded.program('flush_ct_entry');
      if (program.testRun({ data: new Uint8Array(64), context }).returnValue === 1) return true;
    }
    return false;
  }

  private run(program: string): void {
    const { returnValue } = this.loaded.program(program).testRun({ data: new Uint8Array(64) });
    if (returnValue !== 0) throw new Error(`run ${program}: it answered ${returnValue}`);
  }

  /** Returns the flows whose number is higher than `after`. */
  *flows(after = 0): Generator<FlowEntry> {
    yield* this.read(this.copy(), after + 1);
  }

  /** The flows among entries of the table, from the `first` one on. */
  private read(entries: Uint8Array, first = 0): Generator<FlowEntry> {
    const ticks = Number((this.platform.monotonicNs() >> 30n) & 0xffffn);
    return readFlows(entries, ticks, (source) => this.sources.address(source), first);
  }

  /** How many ports are taken by who sees them, most first. */
  destinations(): PortUse[] {
    if (this.used === 0) return [];
    return portsByDestination(this.copy(), this.ports, (source) => this.sources.address(source));
  }

  status(): NatStatus {
    const { used, unconfirmed } = decodeCtTable(this.memory.bytes);
    const { maxEntries } = this.flowMap.info;
    const ports = this.ports.last - this.ports.first + 1;
    const fullest = this.destinations().slice(0, fullestListed);
    return {
      flows: used,
      // The first entry is never used.
      maxFlows: maxEntries - 1,
      // Signed: flows of an earlier version may not have been counted.
      ...{
        unanswered: Math.max(0, unconfirmed | 0),
        unansweredLimit: unansweredLimit(maxEntries),
        ports,
      },
      ...{ portPressure: (fullest[0]?.used ?? 0) / ports, fullest },
      evicted: eventCounts(this.events, evictionText),
      notBelieved: eventCounts(this.events, notBelievedText),
    };
  }

  get used(): number {
    return decodeCtTable(this.memory.bytes).used;
  }

  /** The entries that were ever used, as they are now. */
  private copy(): Uint8Array {
    const { highWater } = decodeCtTable(this.memory.bytes);
    const count = Math.min(highWater + 1, this.flowMap.info.maxEntries);
    using mapping = this.flowMap.mmap(false, count);
    return mapping.bytes.slice(0, count * ctEntrySize);
  }

  private setWord(offset: number, value: number): void {
    this.programmed.set(offset, new Uint8Array(Uint32Array.of(value).buffer));
  }

  private setHalf(offset: number, value: number): void {
    this.programmed.set(offset, new Uint8Array(Uint16Array.of(value).buffer));
  }

  [Symbol.dispose](): void {
    this.memory[Symbol.dispose]();
  }
}

// Fields that are written in place, beside those that the kernel half counts.
const sourceIpv4Offset = 24;
const sourceIpv6Offset = 28;
export const watchedOffset = 32;
// Beside each other: 16 bits, and 8 for each family.
const trackedOffset = 36;
const tunnelSourcesOffset = 38;
const secretOffset = 64;
