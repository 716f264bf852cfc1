import { type MapCreateOptions, mapTypes } from '@heddle/ebpf';
import { BPF_ANY } from '@heddle/ebpf/internal';
import type { Machine } from '../machine.ts';
import { HashKeys } from './keys.ts';
import { VmMap, viewOf } from './map.ts';
import { ValueMap } from './value-map.ts';

/** The bytes of a chunk of values where each of many nodes has a map of its own. */
export const smallChunk = 4096;

/**
 * A map with different contents for each of many simulated nodes that run the same programs. Programs
 * have its address, and `use` sets its contents to the view of a node. Without a view it has those of the
 * original, which the control plane writes.
 */
export class ForkedMap extends VmMap {
  readonly original: VmMap;
  #current: VmMap;
  /** The number of the control plane's changes of the original, without those by mapped memory. */
  changes = 0;

  /** `options` are the properties that descriptors report, if they differ from the original's. */
  constructor(machine: Machine, original: VmMap, options = original.options) {
    super(machine, options);
    this.original = original;
    this.#current = original;
  }

  /** Sets the view. With undefined, the original map is used. */
  use(view: VmMap | undefined): void {
    this.#current = view ?? this.original;
  }

  override get valueBytes(): number {
    return this.original.valueBytes;
  }

  override get deletesBatches(): boolean {
    return this.original.deletesBatches;
  }

  override lookup(key: Uint8Array, value: Uint8Array): number {
    return this.#current.lookup(key, value);
  }

  override update(key: Uint8Array, value: Uint8Array, flags: number): number {
    if (this.#current === this.original) this.changes++;
    return this.#current.update(key, value, flags);
  }

  override delete(key: Uint8Array): number {
    if (this.#current === this.original) this.changes++;
    return this.#current.delete(key);
  }

  override nextKey(key: Uint8Array | undefined, next: Uint8Array): number {
    return this.#current.nextKey(key, next);
  }

  override readBatch(from: number, count: number, keys: Uint8Array, values: Uint8Array) {
    const { original } = this;
    if (!original.readBatch) throw new Error(`read map ${this.options.name}: it has no batches`);
    return original.readBatch(from, count, keys, values);
  }

  override find(key: DataView, at: number): number {
    return this.#current.find(key, at);
  }

  override store(
    key: DataView,
    keyAt: number,
    value: DataView,
    valueAt: number,
    flags: number,
  ): number {
    return this.#current.store(key, keyAt, value, valueAt, flags);
  }

  override remove(key: DataView, at: number): number {
    return this.#current.remove(key, at);
  }

  override mapping(length: number, offset: number, writable: boolean): Uint8Array | undefined {
    return this.original.mapping(length, offset, writable);
  }

  override dispose(): void {
    this.original.dispose();
    super.dispose();
  }
}

/**
 * A node's view of a map that both the control plane and programs write. A value is copied when a program
 * first gets its address, and again after the control plane has changed it.
 */
export class CopiedMap extends VmMap {
  readonly #from: ForkedMap;
  /** The values of the node, and those that they were copied from. */
  readonly #own: ValueMap;
  readonly #seen: ValueMap;
  readonly #value: Uint8Array;
  readonly #other: Uint8Array;
  #changes: number;

  constructor(machine: Machine, from: ForkedMap) {
    super(machine, from.options);
    this.#from = from;
    this.#own = hashLike(machine, from.options);
    this.#seen = hashLike(machine, from.options);
    this.#value = new Uint8Array(from.valueBytes);
    this.#other = new Uint8Array(from.valueBytes);
    this.#changes = from.changes;
  }

  override find(key: DataView, at: number): number {
    this.#catchUp();
    const own = this.#own.find(key, at);
    return own !== 0 || !this.#copy(key, at) ? own : this.#own.find(key, at);
  }

  override store(
    key: DataView,
    keyAt: number,
    value: DataView,
    valueAt: number,
    flags: number,
  ): number {
    this.#catchUp();
    this.#copy(key, keyAt);
    return this.#own.store(key, keyAt, value, valueAt, flags);
  }

  override remove(key: DataView, at: number): number {
    const result = this.#own.remove(key, at);
    if (result === 0) this.#seen.remove(key, at);
    return result;
  }

  override lookup(key: Uint8Array, value: Uint8Array): number {
    this.#catchUp();
    return this.#own.lookup(key, value) < 0 ? this.#from.original.lookup(key, value) : 0;
  }

  /** Writes the value of the node. */
  override update(key: Uint8Array, value: Uint8Array, flags: number): number {
    this.#copy(viewOf(key), 0);
    return this.#own.update(key, value, flags);
  }

  /** Makes the next use of a key copy its value again. */
  forget(key: Uint8Array): void {
    this.#own.delete(key);
    this.#seen.delete(key);
  }

  /** Copies the value of a key once. Returns false when there is none. */
  #copy(key: DataView, at: number): boolean {
    const bytes = new Uint8Array(key.buffer, key.byteOffset + at, this.options.keySize);
    if (this.#own.lookup(bytes, this.#value) === 0) return true;
    if (this.#from.original.lookup(bytes, this.#value) < 0) return false;
    this.#own.update(bytes, this.#value, BPF_ANY);
    this.#seen.update(bytes, this.#value, BPF_ANY);
    return true;
  }

  /** Removes the copies whose original has changed. */
  #catchUp(): void {
    const { changes, original } = this.#from;
    if (this.#changes === changes) return;
    this.#changes = changes;
    const key = new Uint8Array(this.options.keySize);
    const gone: Uint8Array[] = [];
    for (let more = this.#seen.nextKey(undefined, key); more === 0; ) {
      this.#seen.lookup(key, this.#value);
      const found = original.lookup(key, this.#other) === 0;
      if (!found || !this.#other.every((byte, i) => byte === this.#value[i]))
        gone.push(key.slice());
      more = this.#seen.nextKey(key, key);
    }
    for (const each of gone) this.forget(each);
  }

  override dispose(): void {
    this.#own.dispose();
    this.#seen.dispose();
    super.dispose();
  }
}

/**
 * A view of a map that exchanges two addresses at the start of keys: a lookup of one returns the value of
 * the other. So one map serves nodes that differ only in their own address.
 */
export class SwappedMap extends VmMap {
  readonly #inner: VmMap;
  readonly #ownsInner: boolean;
  readonly #swaps: readonly (readonly [Uint8Array, Uint8Array])[];
  readonly #scratch: Uint8Array;
  readonly #view: DataView;

  constructor(
    machine: Machine,
    inner: VmMap,
    swaps: readonly (readonly [Uint8Array, Uint8Array])[],
    ownsInner: boolean,
  ) {
    super(machine, inner.options);
    this.#inner = inner;
    this.#ownsInner = ownsInner;
    this.#swaps = swaps;
    this.#scratch = new Uint8Array(inner.options.keySize);
    this.#view = viewOf(this.#scratch);
  }

  override find(key: DataView, at: number): number {
    const replaced = this.#replace(key, at);
    return replaced ? this.#inner.find(this.#view, 0) : this.#inner.find(key, at);
  }

  override lookup(key: Uint8Array, value: Uint8Array): number {
    const replaced = this.#replace(viewOf(key), 0);
    return this.#inner.lookup(replaced ? this.#scratch : key, value);
  }

  override dispose(): void {
    if (this.#ownsInner) this.#inner.dispose();
    super.dispose();
  }

  #replace(key: DataView, at: number): boolean {
    for (const [a, b] of this.#swaps) {
      const other = begins(key, at, a) ? b : begins(key, at, b) ? a : undefined;
      if (!other) continue;
      const { keySize } = this.options;
      this.#scratch.set(new Uint8Array(key.buffer, key.byteOffset + at, keySize));
      this.#scratch.set(other);
      return true;
    }
    return false;
  }
}

function begins(key: DataView, at: number, address: Uint8Array): boolean {
  for (let i = address.length - 1; i >= 0; i--) {
    if (key.getUint8(at + i) !== address[i]) return false;
  }
  return true;
}

const perCpu: ReadonlySet<number> = new Set([
  mapTypes.percpu_array,
  mapTypes.percpu_hash,
  mapTypes.lru_percpu_hash,
]);

/** Creates a hash map for some of the elements of a map. */
function hashLike(machine: Machine, options: MapCreateOptions): ValueMap {
  const type = perCpu.has(options.type) ? mapTypes.percpu_hash : mapTypes.hash;
  const { keySize, maxEntries } = options;
  return new ValueMap(
    machine,
    { ...options, type, flags: 0 },
    () => new HashKeys(keySize, maxEntries),
    type === mapTypes.percpu_hash,
    smallChunk,
  );
}
