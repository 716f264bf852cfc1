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
  /** Ports that stand for clients, towards each backend from each address of the node. */
  readonly ports: number;
  /** Largest share of them that is taken towards one backend, 0 to 1. */
  readonly portPressure: number;
}

/** The flow table of the node's devices, seen from user space: the kernel half keeps it by itself. */
export class NatTable implements Disposable {
  private readonly platform: Platform;
  private readonly loaded: LoadedObject;
  private readonly flowMap: BpfMap;
  private readonly sources: NatSources;
  private readonly memory: Mapping;
  private readonly ports: number;
  private tunnelSources: readonly string[] = [];

  constructor(
    platform: Platform,
    maps: Readonly<Record<string, BpfMap>>,
    loaded: LoadedObject,
    roles: AddressRoles,
    ports: number,
  ) {
    this.ports = ports;
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
    this.setTunnelSources(this.tunnelSources);
  }

  /** The node's addresses that other nodes know it by, the preferred ones first: tunnels begin there. */
  setTunnelSources(addresses: readonly string[]): void {
    this.tunnelSources = addresses;
    const [ipv4, ipv6] = [true, false].map((family) => this.sources.indexOf(addresses, family));
    this.setWord(tunnelSourcesOffset, ipv4! | (ipv6! << 16));
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
    const { ports } = this;
    const counts = used === 0 ? [] : portsByDestination(this.flows()).values();
    let most = 0;
    for (const count of counts) most = Math.max(most, count);
    return {
      flows: used,
      // The first entry is never used.
      maxFlows: this.flowMap.info.maxEntries - 1,
      ...{ unanswered, ports, portPressure: most / ports },
    };
  }

  get used(): number {
    return decodeNatTable(this.memory.bytes).used;
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
export const watchedOffset = 32;
/** Two of 16 bits. */
const tunnelSourcesOffset = 36;

/**
 * How many ports of the node are taken, by who sees them: `protocol backend port source`, blanks
 * between. A flow whose client keeps its address takes none.
 */
export function portsByDestination(flows: Iterable<FlowEntry>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { protocol, backend, backendPort, client, source } of flows) {
    if (source === client) continue;
    const destination = `${protocol} ${backend} ${backendPort} ${source}`;
    counts.set(destination, (counts.get(destination) ?? 0) + 1);
  }
  return counts;
}
