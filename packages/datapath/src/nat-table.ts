import type { BpfMap, LoadedObject, Mapping } from '@heddle/ebpf';
import type { Platform } from '@heddle/sys';
import type { AddressRoles } from './address-roles.ts';
import { type FlowEntry, readFlows } from './flows.ts';
import { decodeNatTable, natFlowSize } from './generated/abi.ts';
import { NatSources } from './nat-sources.ts';

export interface NatStatus {
  readonly flows: number;
  readonly maxFlows: number;
  /** Of them, those whose backend has not answered yet. */
  readonly unanswered: number;
}

/** The flow table of the node's devices, seen from user space: the kernel half keeps it by itself. */
export class NatTable implements Disposable {
  private readonly platform: Platform;
  private readonly loaded: LoadedObject;
  private readonly flowMap: BpfMap;
  private readonly sources: NatSources;
  private readonly memory: Mapping;

  constructor(
    platform: Platform,
    maps: Readonly<Record<string, BpfMap>>,
    loaded: LoadedObject,
    roles: AddressRoles,
  ) {
    this.platform = platform;
    this.loaded = loaded;
    this.flowMap = maps.nat_flows!;
    this.sources = new NatSources(maps.nat_sources!, roles);
    this.memory = maps.nat_table!.mmap();
  }

  setAddresses(addresses: readonly string[]): void {
    const { ipv4, ipv6 } = this.sources.set(addresses);
    this.setWord(sourceIpv4Offset, ipv4);
    this.setWord(sourceIpv6Offset, ipv6);
  }

  /** Whether the kernel half shall write drops to `drop_events`. */
  setWatched(watched: boolean): void {
    this.setWord(watchedOffset, watched ? 1 : 0);
  }

  /** Starts the kernel's garbage collection with the code of this version. Throws SysError. */
  startSweeping(): void {
    const { returnValue } = this.loaded.program('start_sweeping').testRun({
      data: new Uint8Array(64),
    });
    if (returnValue !== 0) throw new Error(`start sweeping: the program answered ${returnValue}`);
  }

  *flows(): Generator<FlowEntry> {
    const { usedOnce } = decodeNatTable(this.memory.bytes);
    const ticks = Number((this.platform.monotonicNs() >> 30n) & 0xffffn);
    const count = Math.min(usedOnce + 1, this.flowMap.info.maxEntries);
    using mapping = this.flowMap.mmap(false, count);
    yield* readFlows(mapping.bytes.slice(0, count * natFlowSize), ticks, (source) =>
      this.sources.address(source),
    );
  }

  status(): NatStatus {
    const { used, unanswered } = decodeNatTable(this.memory.bytes);
    // The first entry is never used.
    return { flows: used, maxFlows: this.flowMap.info.maxEntries - 1, unanswered };
  }

  private setWord(offset: number, value: number): void {
    const { bytes } = this.memory;
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(offset, value, true);
  }

  [Symbol.dispose](): void {
    this.memory[Symbol.dispose]();
  }
}

// Fields that are written in place, beside those that the kernel half counts.
const sourceIpv4Offset = 24;
const sourceIpv6Offset = 28;
const watchedOffset = 32;
