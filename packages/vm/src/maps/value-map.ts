import { BPF_F_MMAPABLE, BPF_F_RDONLY_PROG, type MapCreateOptions } from '@heddle/ebpf';
import { BPF_ANY, BPF_EXIST, BPF_NOEXIST } from '@heddle/ebpf/internal';
import { errno } from '@heddle/sys';
import type { Machine } from '../machine.ts';
import type { Owner } from '../memory.ts';
import { ArrayKeys, type Keys } from './keys.ts';
import { LruKeys } from './lru-keys.ts';
import { VmMap, viewOf } from './map.ts';

const BPF_F_LOCK = 4;
/** The default size of a chunk of values, which has at least one value. */
const CHUNK_BYTES = 1 << 16;
const PAGE = 4096;

/**
 * A map whose values are bytes: array, hash, LRU, LPM trie, each also per CPU. They differ in the storage of
 * keys. Values are in chunks that never move, because programs and mmap(2) have their addresses. Each
 * begins at a multiple of 8 bytes.
 */
export class ValueMap extends VmMap {
  readonly #keys: Keys;
  readonly #isArray: boolean;
  readonly #lru: LruKeys | undefined;
  readonly #cpus: number;
  readonly #stride: number;
  readonly #perChunk: number;
  readonly #chunks: Uint8Array[] = [];
  /** The region of each value whose address a program has got; 0: none. */
  #regions = new Int32Array(16);
  readonly #owner: Owner;
  /** True if the latest #slotFor has made the slot. */
  #inserted = false;

  constructor(
    machine: Machine,
    options: MapCreateOptions,
    makeKeys: (onEvict: (slot: number) => void) => Keys,
    perCpu: boolean,
    chunkBytes = CHUNK_BYTES,
  ) {
    super(machine, options);
    this.#keys = makeKeys((slot) => this.#forget(slot));
    this.#isArray = this.#keys instanceof ArrayKeys;
    this.#lru = this.#keys instanceof LruKeys ? this.#keys : undefined;
    this.#cpus = perCpu ? machine.cpus : 1;
    this.#stride = Math.ceil(options.valueSize / 8) * 8;
    // An array is one chunk, so that it can be mapped.
    const all = options.maxEntries * this.#cpus;
    this.#perChunk = this.#isArray ? all : Math.max(1, Math.floor(chunkBytes / this.#stride));
    this.#owner = { kind: 'map-value', map: options.name };
    if (this.#isArray) this.#chunk(0);
  }

  override get valueBytes(): number {
    return this.#cpus > 1 || this.#isPerCpu ? this.#stride * this.#cpus : this.options.valueSize;
  }

  get size(): number {
    return this.#keys.size;
  }

  override lookup(key: Uint8Array, value: Uint8Array): number {
    const slot = this.#keys.find(viewOf(key), 0);
    if (slot < 0) return -errno.ENOENT;
    this.#read(slot, value, 0);
    return 0;
  }

  override update(key: Uint8Array, value: Uint8Array, flags: number): number {
    const slot = this.#slotFor(viewOf(key), 0, flags);
    if (slot < 0) return slot;
    // The kernel also keeps the padding of per-CPU values.
    const size = this.#isPerCpu ? this.#stride : this.options.valueSize;
    for (let cpu = 0; cpu < this.#cpus; cpu++) {
      this.#value(slot, cpu, size).set(value.subarray(cpu * size, (cpu + 1) * size));
    }
    return 0;
  }

  override delete(key: Uint8Array): number {
    return this.remove(viewOf(key), 0);
  }

  override nextKey(key: Uint8Array | undefined, next: Uint8Array): number {
    // A missing key means the beginning.
    const from = key ? this.#keys.findExact(viewOf(key), 0) : -1;
    const slot = this.#keys.next(from);
    if (slot < 0) return -errno.ENOENT;
    this.#keys.copy(slot, next, 0);
    return 0;
  }

  override readBatch(from: number, count: number, keys: Uint8Array, values: Uint8Array) {
    let done = 0;
    let slot = this.#keys.next(from - 1);
    for (; slot >= 0 && done < count; slot = this.#keys.next(slot)) {
      this.#keys.copy(slot, keys, done * this.options.keySize);
      this.#read(slot, values, done * this.valueBytes);
      done++;
    }
    return { done, next: slot };
  }

  override get deletesBatches(): boolean {
    return !this.#isArray;
  }

  override find(key: DataView, at: number): number {
    const slot = this.#keys.find(key, at);
    if (slot < 0) return 0;
    this.#lru?.touch(slot);
    return this.#region(slot, this.#cpus > 1 ? this.machine.cpu : 0);
  }

  /** Returns the region of the value of a CPU (bpf_map_lookup_percpu_elem); 0: none. */
  findOn(cpu: number, key: DataView, at: number): number {
    const slot = this.#keys.find(key, at);
    return slot < 0 || cpu >= this.#cpus ? 0 : this.#region(slot, cpu);
  }

  override store(
    key: DataView,
    keyAt: number,
    value: DataView,
    valueAt: number,
    flags: number,
  ): number {
    const slot = this.#slotFor(key, keyAt, flags);
    if (slot < 0) return slot;
    const own = this.#cpus > 1 ? this.machine.cpu : 0;
    if (this.#inserted) {
      for (let cpu = 0; cpu < this.#cpus; cpu++) {
        this.#value(slot, cpu, this.#stride).fill(0);
      }
    }
    const bytes = new Uint8Array(value.buffer, value.byteOffset + valueAt, this.options.valueSize);
    this.#value(slot, own).set(bytes);
    return 0;
  }

  override remove(key: DataView, at: number): number {
    if (this.#isArray) return -errno.EINVAL;
    const slot = this.#keys.findExact(key, at);
    if (slot < 0) return -errno.ENOENT;
    this.#forget(slot);
    this.#keys.remove(slot);
    return 0;
  }

  override directValue(): number {
    return this.#isArray ? this.#region(0, 0) : 0;
  }

  override walk(visit: (slot: number) => boolean): void {
    for (let slot = this.#keys.next(-1); slot >= 0; slot = this.#keys.next(slot)) {
      if (visit(slot)) return;
    }
  }

  override elementRegions(slot: number): { key: number; value: number } {
    const key = new Uint8Array(this.options.keySize);
    this.#keys.copy(slot, key, 0);
    const { memory } = this.machine;
    const region = memory.add(
      { kind: 'kernel', what: `a key of map ${this.options.name}` },
      key,
      false,
    );
    memory.retire(region);
    return { key: region, value: this.#region(slot, this.#cpus > 1 ? this.machine.cpu : 0) };
  }

  override mapping(length: number, offset: number): Uint8Array | undefined {
    if (!(this.options.flags & BPF_F_MMAPABLE)) return undefined;
    const bytes = this.#chunks[0]!;
    return offset + length > bytes.length ? undefined : bytes.subarray(offset, offset + length);
  }

  override dispose(): void {
    for (const region of this.#regions) if (region !== 0) this.machine.memory.remove(region);
    super.dispose();
  }

  get #isPerCpu(): boolean {
    // The value of a single CPU is padded, too.
    return perCpuTypes.has(this.options.type);
  }

  /** Returns the slot for a write, a new one if needed; -errno if `flags` or the map's size forbid it. */
  #slotFor(key: DataView, at: number, flags: number): number {
    const wanted = flags & ~BPF_F_LOCK;
    if (wanted > BPF_EXIST || wanted < BPF_ANY) return -errno.EINVAL;
    const slot = this.#keys.findExact(key, at);
    this.#inserted = slot < 0;
    if (slot >= 0) {
      if (wanted === BPF_NOEXIST) return -errno.EEXIST;
      this.#lru?.touch(slot);
      // The kernel replaces an element by a new one, except in arrays and per-CPU maps.
      if (!this.#isArray && !this.#isPerCpu) this.#forget(slot);
      this.#keys.rewrite?.(slot, key, at);
      return slot;
    }
    if (wanted === BPF_EXIST) return this.#isArray ? -errno.E2BIG : -errno.ENOENT;
    return this.#keys.insert(key, at);
  }

  #read(slot: number, into: Uint8Array, at: number): void {
    const size = this.#isPerCpu ? this.#stride : this.options.valueSize;
    for (let cpu = 0; cpu < this.#cpus; cpu++) {
      into.set(this.#value(slot, cpu, size), at + cpu * size);
    }
  }

  #value(slot: number, cpu: number, size = this.options.valueSize): Uint8Array {
    const index = slot * this.#cpus + cpu;
    const start = (index % this.#perChunk) * this.#stride;
    const chunk = this.#chunk(Math.floor(index / this.#perChunk));
    return chunk.subarray(start, start + size);
  }

  #chunk(number: number): Uint8Array {
    while (this.#chunks.length <= number) {
      this.#chunks.push(new Uint8Array(Math.ceil((this.#perChunk * this.#stride) / PAGE) * PAGE));
    }
    return this.#chunks[number]!;
  }

  #region(slot: number, cpu: number): number {
    const index = slot * this.#cpus + cpu;
    if (index >= this.#regions.length) {
      const larger = new Int32Array(Math.max(index + 1, 2 * this.#regions.length));
      larger.set(this.#regions);
      this.#regions = larger;
    }
    let region = this.#regions[index]!;
    if (region === 0) {
      const writable = !(this.options.flags & BPF_F_RDONLY_PROG);
      region = this.machine.memory.add(this.#owner, this.#value(slot, cpu), writable);
      this.#regions[index] = region;
    }
    return region;
  }

  /** Removes an element. A running program that has its address still sees the old value. */
  #forget(slot: number): void {
    const { memory, isRunning } = this.machine;
    for (let cpu = 0; cpu < this.#cpus; cpu++) {
      const index = slot * this.#cpus + cpu;
      const region = this.#regions[index] ?? 0;
      if (region === 0) continue;
      this.#regions[index] = 0;
      if (isRunning) {
        memory.replace(region, this.#value(slot, cpu).slice());
        memory.retire(region);
      } else {
        memory.remove(region);
      }
    }
  }
}

/** BPF_MAP_TYPE_PERCPU_HASH, PERCPU_ARRAY, LRU_PERCPU_HASH. */
const perCpuTypes: ReadonlySet<number> = new Set([5, 6, 10]);
