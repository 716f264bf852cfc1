import type { Protocol } from '@heddle/objects';
import type { Backend } from '@heddle/services';
import { formatIp, parseIp } from '@heddle/sys';
import type { ArrayMemory } from '../core/mapped-array.ts';
import { keyText } from '../core/store.ts';
import {
  type BackendState,
  backendSize,
  backendState,
  backendStatsSize,
  decodeBackend,
  decodeBackendStats,
  encodeBackend,
  type Backend as KernelBackend,
} from '../generated/abi.ts';
import { tickNs } from '../nat/flow-options.ts';
import { Extents } from './extents.ts';

/** Numbers of IPPROTO_* (RFC 1700, now IANA's protocol registry). */
export const protocolNumbers = { TCP: 6, UDP: 17, SCTP: 132 } as const;

/** A backend with what the kernel counted of it. */
export interface BackendCounters {
  readonly address: string;
  readonly port: number;
  readonly state: 'active' | 'draining';
  /** Made since the backend came; for unconnected UDP: flows. */
  readonly connections: number;
  /** Open now; counted for least-connections services only. */
  readonly active: number;
  /** Both ways, of what is translated on the node's devices. */
  readonly packets: number;
  readonly bytes: number;
}

/** Sums over all backends; they only grow while an agent runs. */
export interface TrafficTotals {
  readonly connections: number;
  /** Both ways, of what is translated on the node's devices. */
  readonly packets: number;
  readonly bytes: number;
}

/** Address, port and protocol as text, for finding a backend among a service's. */
export function endpointText(address: string, port: number, protocol: Protocol): string {
  const bytes = parseIp(address);
  if (!bytes) throw new Error(`read backend address ${address}: not an IP address`);
  return keyText(bytes) + String.fromCharCode(port, protocolNumbers[protocol]);
}

/**
 * The kernel's array of backends, by id. An id belongs to one backend of one service until it is
 * released; its next use has another generation, so that what sockets remember of it is known to be
 * stale.
 */
export class BackendTable {
  private readonly memory: ArrayMemory;
  private readonly stats: ArrayMemory;
  private readonly ids: Extents;
  private readonly now: () => bigint;
  /** Of backends whose ids others have got since. */
  private past: TrafficTotals = { connections: 0, packets: 0, bytes: 0 };

  constructor(memory: ArrayMemory, stats: ArrayMemory, now: () => bigint) {
    this.memory = memory;
    this.stats = stats;
    this.now = now;
    this.ids = new Extents(memory.length, now);
    this.ids.reserve(0, 1);
  }

  get capacity(): number {
    return this.ids.size - 1;
  }

  get used(): number {
    return this.ids.used - 1;
  }

  read(id: number): KernelBackend {
    return decodeBackend(this.memory.first(id + 1), id * backendSize);
  }

  /** What is in force at the start: ids by service. Takes those ids. */
  adopt(): Map<number, number[]> {
    const found = new Map<number, number[]>();
    const bytes = this.memory.first(0);
    for (let id = 1; id < bytes.length / backendSize; id++) {
      if (bytes[id * backendSize + stateOffset] === backendState.gone) continue;
      const { service } = this.read(id);
      this.ids.reserve(id, 1);
      const ids = found.get(service);
      if (ids) ids.push(id);
      else found.set(service, [id]);
    }
    return found;
  }

  /** Highest service id that a backend has or had. */
  highestService(): number {
    const bytes = this.memory.first(0);
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    let highest = 0;
    for (let at = serviceOffset / 4; at < words.length; at += backendSize / 4) {
      if (words[at]! > highest) highest = words[at]!;
    }
    return highest;
  }

  /** A free id, or undefined when the table is full. Nothing is written yet. */
  allocate(): number | undefined {
    return this.ids.allocate(1);
  }

  /** Fills a newly allocated id: another generation, nothing counted. */
  create(id: number, service: number, protocol: Protocol, backend: Backend): void {
    const address = parseIp(backend.address);
    if (!address) throw new Error(`read backend address ${backend.address}: not an IP address`);
    const at = id * backendSize;
    const bytes = this.memory.first(id + 1);
    const statsAt = id * backendStatsSize;
    const stats = this.stats.first(id + 1);
    this.past = sumOf(stats.subarray(statsAt, statsAt + backendStatsSize), this.past);
    stats.fill(0, statsAt, statsAt + backendStatsSize);
    setWordAt(stats, statsAt + sinceOffset, Math.floor(Number(this.now()) / tickNs));
    encodeBackend(
      {
        address,
        port: backend.port,
        protocol: protocolNumbers[protocol],
        state: stateOf(backend),
        service,
        generation: (wordAt(bytes, at + generationOffset) + 1) >>> 0,
        weight: backend.weight,
      },
      bytes,
      at,
    );
    this.memory.wrote(at, backendSize);
  }

  /** Brings the state and weight of a backend that stays up to date. */
  amend(id: number, backend: Backend): void {
    const at = id * backendSize;
    const bytes = this.memory.first(id + 1);
    const state = stateOf(backend);
    if (bytes[at + stateOffset] !== state) bytes[at + stateOffset] = state;
    this.memory.wrote(at + stateOffset, 1);
    const weights = new Uint32Array(bytes.buffer, bytes.byteOffset + at + weightOffset, 1);
    if (weights[0] !== backend.weight) weights[0] = backend.weight;
    this.memory.wrote(at + weightOffset, 4);
  }

  /** Marks a backend as gone; its id can be had again after the grace period. */
  remove(id: number): void {
    const at = id * backendSize + stateOffset;
    this.memory.first(id + 1)[at] = backendState.gone;
    this.memory.wrote(at, 1);
    this.ids.release(id, 1);
  }

  /** A backend that was found in force, as a row would have it. */
  asBackend(id: number): Backend {
    const { address, port, state, weight } = this.read(id);
    return {
      address: formatIp(address),
      port,
      state: state === backendState.draining ? 'draining' : 'active',
      weight: Math.min(Math.max(weight, 1), 65_535),
    };
  }

  counters(id: number): BackendCounters {
    const backend = this.read(id);
    const stats = decodeBackendStats(this.stats.first(id + 1), id * backendStatsSize);
    return {
      address: formatIp(backend.address),
      port: backend.port,
      state: backend.state === backendState.draining ? 'draining' : 'active',
      connections: Number(stats.connections),
      active: stats.active,
      packets: Number(stats.packets),
      bytes: Number(stats.bytes),
    };
  }

  totals(): TrafficTotals {
    return sumOf(this.stats.first(0), this.past);
  }

  /** As `endpointText` writes it. */
  endpoint(id: number): string {
    const { address, port, protocol } = this.read(id);
    return keyText(address) + String.fromCharCode(port, protocol);
  }
}

// The only places where a single field is touched in place; the codecs' tests hold them true.
const stateOffset = 19;
const serviceOffset = 20;
const generationOffset = 24;
const weightOffset = 28;
/** Of struct backend_stats. */
const sinceOffset = 12;
/** Of struct backend_stats, in words; the bytes come behind. */
const packetsWord = 4;

/** `counted`, and what entries of `backend_stats` have counted. */
function sumOf(bytes: Uint8Array, counted: TrafficTotals): TrafficTotals {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  let { connections, packets, bytes: sum } = counted;
  for (let at = 0; at < words.length; at += backendStatsSize / 4) {
    connections += words[at]! + words[at + 1]! * 2 ** 32;
    packets += words[at + packetsWord]! + words[at + packetsWord + 1]! * 2 ** 32;
    sum += words[at + packetsWord + 2]! + words[at + packetsWord + 3]! * 2 ** 32;
  }
  return { connections, packets, bytes: sum };
}

function wordAt(bytes: Uint8Array, offset: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(offset, true);
}

function setWordAt(bytes: Uint8Array, offset: number, value: number): void {
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(offset, value, true);
}

function stateOf(backend: Backend): BackendState {
  return backend.state === 'draining' ? backendState.draining : backendState.active;
}
