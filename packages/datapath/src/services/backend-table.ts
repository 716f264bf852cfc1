import type { Protocol } from '@heddle/objects';
import type { Backend } from '@heddle/services';
import { formatIp, parseIp } from '@heddle/sys';
import { keyText } from '../core/keyed-map.ts';
import type { ArrayMemory } from '../core/mapped-array.ts';
import { protocolNumbers } from '../core/protocols.ts';
import {
  type BackendState,
  backendCodec,
  backendSize,
  backendState,
  backendStatsCodec,
  backendStatsSize,
  decodeBackend,
  decodeBackendStats,
  encodeBackend,
  type Backend as KernelBackend,
} from '../generated/abi.ts';
import { tickNs } from '../nat/flow-options.ts';
import { Extents } from './extents.ts';

/** A backend with its counters. */
export interface BackendCounters {
  readonly address: string;
  readonly port: number;
  readonly state: 'active' | 'draining';
  /** Connections since the backend was added; for unconnected UDP sockets: flows. */
  readonly connections: number;
  /** Open connections; counted for services with the algorithm least-connections only. */
  readonly active: number;
  /** Packets in both directions that are translated at the node's network interfaces. */
  readonly packets: number;
  readonly bytes: number;
}

/** Sums over all backends; they only grow while an agent runs. */
export interface TrafficTotals {
  readonly connections: number;
  /** Packets in both directions that are translated at the node's network interfaces. */
  readonly packets: number;
  readonly bytes: number;
}

/** Returns address, port and protocol as a text by which a backend is found among a service's. Throws Error. */
export function endpointText(address: string, port: number, protocol: Protocol): string {
  const bytes = parseIp(address);
  if (!bytes) throw new Error(`read backend address ${address}: not an IP address`);
  return keyText(bytes) + String.fromCharCode(port, protocolNumbers[protocol]);
}

/** Offsets of the fields that are read or written in place. */
const fields = backendCodec.offsets;

/**
 * The map `backends`, an array by id. An id belongs to one backend of one service until it is released. Its next
 * backend has another generation, by which the programs notice that a socket's choice is stale.
 */
export class BackendTable {
  readonly #memory: ArrayMemory;
  readonly #stats: ArrayMemory;
  readonly #ids: Extents;
  readonly #now: () => bigint;
  /** Sums over former backends, whose ids others have now. */
  #past: TrafficTotals = { connections: 0, packets: 0, bytes: 0 };

  constructor(memory: ArrayMemory, stats: ArrayMemory, now: () => bigint) {
    this.#memory = memory;
    this.#stats = stats;
    this.#now = now;
    this.#ids = new Extents(memory.length, now);
    this.#ids.reserve(0, 1);
  }

  get capacity(): number {
    return this.#ids.size - 1;
  }

  get used(): number {
    return this.#ids.used - 1;
  }

  read(id: number): KernelBackend {
    return decodeBackend(this.#memory.first(id + 1), id * backendSize);
  }

  /** Returns the ids that are in use at the start, by service, and reserves them. */
  adopt(): Map<number, number[]> {
    const found = new Map<number, number[]>();
    const bytes = this.#memory.first(0);
    for (let id = 1; id < bytes.length / backendSize; id++) {
      if (bytes[id * backendSize + fields.state] === backendState.gone) continue;
      const { service } = this.read(id);
      this.#ids.reserve(id, 1);
      const ids = found.get(service);
      if (ids) ids.push(id);
      else found.set(service, [id]);
    }
    return found;
  }

  /** Returns the highest service id that a backend has or had. */
  highestService(): number {
    const bytes = this.#memory.first(0);
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    let highest = 0;
    for (let at = fields.service / 4; at < words.length; at += backendSize / 4) {
      if (words[at]! > highest) highest = words[at]!;
    }
    return highest;
  }

  /** Returns a free id, or undefined if the table is full. It writes nothing. */
  allocate(): number | undefined {
    return this.#ids.allocate(1);
  }

  /** Writes a backend under a newly allocated id, with the next generation and empty counters. */
  create(id: number, service: number, protocol: Protocol, backend: Backend): void {
    const address = parseIp(backend.address);
    if (!address) throw new Error(`read backend address ${backend.address}: not an IP address`);
    const at = id * backendSize;
    const bytes = this.#memory.first(id + 1);
    const statsAt = id * backendStatsSize;
    const stats = this.#stats.first(id + 1);
    this.#past = sumOf(stats.subarray(statsAt, statsAt + backendStatsSize), this.#past);
    stats.fill(0, statsAt, statsAt + backendStatsSize);
    setWordAt(
      stats,
      statsAt + backendStatsCodec.offsets.since,
      Math.floor(Number(this.#now()) / tickNs),
    );
    encodeBackend(
      {
        address,
        port: backend.port,
        protocol: protocolNumbers[protocol],
        state: stateOf(backend),
        service,
        generation: (wordAt(bytes, at + fields.generation) + 1) >>> 0,
        weight: backend.weight,
      },
      bytes,
      at,
    );
    this.#memory.wrote(at, backendSize);
  }

  /** Returns true when the map has this state and weight. */
  isUpToDate(id: number, backend: Backend): boolean {
    const at = id * backendSize;
    const bytes = this.#memory.first(id + 1);
    return (
      bytes[at + fields.state] === stateOf(backend) &&
      wordAt(bytes, at + fields.weight) === backend.weight
    );
  }

  /** Writes the state and weight of a backend. */
  amend(id: number, backend: Backend): void {
    const at = id * backendSize;
    const bytes = this.#memory.first(id + 1);
    const state = stateOf(backend);
    if (bytes[at + fields.state] !== state) bytes[at + fields.state] = state;
    this.#memory.wrote(at + fields.state, 1);
    const weights = new Uint32Array(bytes.buffer, bytes.byteOffset + at + fields.weight, 1);
    if (weights[0] !== backend.weight) weights[0] = backend.weight;
    this.#memory.wrote(at + fields.weight, 4);
  }

  /** Marks a backend as removed and releases its id, which is free after the grace period. */
  remove(id: number): void {
    const at = id * backendSize + fields.state;
    this.#memory.first(id + 1)[at] = backendState.gone;
    this.#memory.wrote(at, 1);
    this.#ids.release(id, 1);
  }

  /** Returns a backend of the map as a row would have it. */
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
    const stats = decodeBackendStats(this.#stats.first(id + 1), id * backendStatsSize);
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
    return sumOf(this.#stats.first(0), this.#past);
  }

  /** Returns the text that `endpointText` makes of the backend. */
  endpoint(id: number): string {
    const { address, port, protocol } = this.read(id);
    return keyText(address) + String.fromCharCode(port, protocol);
  }
}

/** Returns the sum of `counted` and entries of `backend_stats`. */
function sumOf(bytes: Uint8Array, counted: TrafficTotals): TrafficTotals {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const counters = backendStatsCodec.offsets;
  let { connections, packets, bytes: sum } = counted;
  for (let at = 0; at < words.length; at += backendStatsSize / 4) {
    connections += longAt(words, at + counters.connections / 4);
    packets += longAt(words, at + counters.packets / 4);
    sum += longAt(words, at + counters.bytes / 4);
  }
  return { connections, packets, bytes: sum };
}

/** Returns the 64-bit number at two words. */
function longAt(words: Uint32Array, at: number): number {
  return words[at]! + words[at + 1]! * 2 ** 32;
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
