import { errno } from '@heddle/sys';

/**
 * The keys of a map. Each has a slot, a small number that stays the same while the element exists.
 * Listings are in ascending order of slots, so that they are stable while nothing changes.
 */
export interface Keys {
  readonly size: number;
  /** The number of slots that were ever used, which is the number of values. */
  readonly slots: number;
  /** Returns the slot of the key at `view[at]`, or -1. */
  find(view: DataView, at: number): number;
  /** Returns the slot of exactly this key, where `find` of an LPM trie returns that of the longest prefix. */
  findExact(view: DataView, at: number): number;
  /** Adds a missing key. Returns its slot, or -errno. */
  insert(view: DataView, at: number): number;
  remove(slot: number): void;
  /** Returns the next used slot after `slot` (which is -1 or more), or -1. */
  next(slot: number): number;
  copy(slot: number, into: Uint8Array, at: number): void;
  /** Stores the bytes of a key that is written again, if equal keys can have different bytes. */
  rewrite?(slot: number, view: DataView, at: number): void;
}

/** The indices of an array. */
export class ArrayKeys implements Keys {
  readonly size: number;
  readonly slots: number;

  constructor(maxEntries: number) {
    this.size = maxEntries;
    this.slots = maxEntries;
  }

  find(view: DataView, at: number): number {
    const index = view.getUint32(at, true);
    return index < this.size ? index : -1;
  }

  findExact(view: DataView, at: number): number {
    return this.find(view, at);
  }

  /** All indices exist: a missing one is too large. */
  insert(): number {
    return -errno.E2BIG;
  }

  remove(): void {}

  next(slot: number): number {
    return slot + 1 < this.size ? slot + 1 : -1;
  }

  copy(slot: number, into: Uint8Array, at: number): void {
    into[at] = slot;
    into[at + 1] = slot >>> 8;
    into[at + 2] = slot >>> 16;
    into[at + 3] = slot >>> 24;
  }
}

const FIRST_SLOTS = 64;

/** Keys in a hash table with chains, which doubles when it grows. */
export class HashKeys implements Keys {
  size = 0;
  slots = 0;
  readonly #keySize: number;
  readonly #maxEntries: number;
  #bytes: Uint8Array;
  #view: DataView;
  /** The first slot + 1 of each bucket; 0: none. The number of buckets is a power of two. */
  #heads: Int32Array;
  /** The next slot + 1 in the bucket of a used slot; -1 for a free one. */
  #next: Int32Array;
  #hashes: Int32Array;
  readonly #free: number[] = [];

  constructor(keySize: number, maxEntries: number) {
    this.#keySize = keySize;
    this.#maxEntries = maxEntries;
    this.#bytes = new Uint8Array(FIRST_SLOTS * keySize);
    this.#view = new DataView(this.#bytes.buffer);
    this.#heads = new Int32Array(FIRST_SLOTS);
    this.#next = new Int32Array(FIRST_SLOTS).fill(-1);
    this.#hashes = new Int32Array(FIRST_SLOTS);
  }

  find(view: DataView, at: number): number {
    const hash = hashOf(view, at, this.#keySize);
    let slot = this.#heads[hash & (this.#heads.length - 1)]! - 1;
    while (slot >= 0) {
      if (this.#hashes[slot] === hash && this.#equals(slot, view, at)) return slot;
      slot = this.#next[slot]! - 1;
    }
    return -1;
  }

  findExact(view: DataView, at: number): number {
    return this.find(view, at);
  }

  insert(view: DataView, at: number): number {
    if (this.size >= this.#maxEntries) return -errno.E2BIG;
    const slot = this.#free.pop() ?? this.slots++;
    if (slot === this.#next.length) this.#grow();
    for (let i = 0; i < this.#keySize; i++) {
      this.#bytes[slot * this.#keySize + i] = view.getUint8(at + i);
    }
    this.#hashes[slot] = hashOf(view, at, this.#keySize);
    this.#link(slot);
    this.size++;
    return slot;
  }

  remove(slot: number): void {
    const bucket = this.#hashes[slot]! & (this.#heads.length - 1);
    let before = this.#heads[bucket]! - 1;
    if (before === slot) {
      this.#heads[bucket] = this.#next[slot]!;
    } else {
      while (this.#next[before]! - 1 !== slot) before = this.#next[before]! - 1;
      this.#next[before] = this.#next[slot]!;
    }
    this.#next[slot] = -1;
    this.#free.push(slot);
    this.size--;
  }

  next(slot: number): number {
    for (let at = slot + 1; at < this.slots; at++) if (this.#next[at]! >= 0) return at;
    return -1;
  }

  copy(slot: number, into: Uint8Array, at: number): void {
    const start = slot * this.#keySize;
    into.set(this.#bytes.subarray(start, start + this.#keySize), at);
  }

  #link(slot: number): void {
    const bucket = this.#hashes[slot]! & (this.#heads.length - 1);
    this.#next[slot] = this.#heads[bucket]!;
    this.#heads[bucket] = slot + 1;
  }

  #equals(slot: number, view: DataView, at: number): boolean {
    const size = this.#keySize;
    const own = slot * size;
    let i = 0;
    for (; i + 4 <= size; i += 4) {
      if (this.#view.getInt32(own + i, true) !== view.getInt32(at + i, true)) return false;
    }
    for (; i < size; i++) {
      if (this.#view.getUint8(own + i) !== view.getUint8(at + i)) return false;
    }
    return true;
  }

  #grow(): void {
    const slots = 2 * this.#next.length;
    const bytes = new Uint8Array(slots * this.#keySize);
    bytes.set(this.#bytes);
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
    const hashes = new Int32Array(slots);
    hashes.set(this.#hashes);
    this.#hashes = hashes;
    const used = this.#next;
    this.#next = new Int32Array(slots).fill(-1);
    this.#heads = new Int32Array(slots);
    for (let slot = 0; slot < used.length; slot++) if (used[slot]! >= 0) this.#link(slot);
  }
}

function hashOf(view: DataView, at: number, size: number): number {
  let hash = size;
  let i = 0;
  for (; i + 4 <= size; i += 4) {
    hash = Math.imul(hash ^ view.getInt32(at + i, true), 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  for (; i < size; i++) hash = Math.imul(hash ^ view.getUint8(at + i), 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 13), 0x85ebca6b);
  return hash ^ (hash >>> 16);
}
