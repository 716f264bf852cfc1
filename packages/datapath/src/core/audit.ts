import { BatchError, type BpfMap } from '@heddle/ebpf';
import type { Disposal, Platform } from '@heddle/sys';
import { EntryTable } from './entry-table.ts';
import type { KeyedMap } from './keyed-map.ts';
import { MappedArray } from './mapped-array.ts';

/** Something in the kernel that is not as it was programmed, because another process has changed it. */
export interface Damage {
  /** `hook`: programs that are not attached; `pin`: files that the next start needs; `map`: entries. */
  readonly kind: 'hook' | 'pin' | 'map';
  /** The name of the hook, file or map. */
  readonly name: string;
  /** Reads as a sentence after the name, e.g. `is not attached`. */
  readonly problem: string;
}

/**
 * A map that only the control plane writes, with a copy of what was written. It finds what other processes have
 * changed, and restores it.
 */
export interface ProgrammedContent {
  readonly name: string;
  /** Returns a text about how the kernel's content differs from the programmed one, if it does. Throws SysError. */
  problem(): string | undefined;
  /** Writes what was programmed over the kernel's content. Throws SysError. */
  restore(): void;
}

/** Returns a text about the differences in the content of a map. */
function difference(missing: number, changed: number, unknown: number): string | undefined {
  const parts = [
    missing > 0 ? `lacks ${missing} of its entries` : '',
    changed > 0 ? `has ${changed} changed entries` : '',
    unknown > 0 ? `has ${unknown} entries that were not programmed` : '',
  ].filter((part) => part !== '');
  return parts.length === 0 ? undefined : parts.join(', ');
}

const wordsOf = (bytes: Uint8Array): Uint32Array =>
  bytes.byteOffset % 4 === 0
    ? new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2)
    : new Uint32Array(bytes.slice().buffer);
const bytesOf = (words: Uint32Array): Uint8Array =>
  new Uint8Array(words.buffer, words.byteOffset, words.byteLength).slice();

/** A hash map. What an earlier agent left counts as programmed until it is overwritten. */
export class ProgrammedMap implements KeyedMap, ProgrammedContent {
  #map: BpfMap;
  readonly #entries: EntryTable;
  /** Word of a value that the programs write; -1: none. */
  readonly #theirs: number;

  /** `theirs`: offset in bytes of the word of a value that the programs write. `seed` is random. */
  constructor(map: BpfMap, seed: number, theirs?: number) {
    this.#map = map;
    this.#theirs = theirs === undefined ? -1 : theirs / 4;
    const { keySize, valueSize } = map.info;
    this.#entries = new EntryTable(keySize / 4, valueSize / 4, seed);
    for (const { keys, values, count } of map.chunks()) this.#note(keys, values, count);
  }

  get name(): string {
    return this.#map.info.name;
  }

  get info(): BpfMap['info'] {
    return this.#map.info;
  }

  /** Goes on with another map, which holds what the one before does. */
  moveTo(map: BpfMap): void {
    this.#map = map;
  }

  entries(): Iterable<readonly [Uint8Array, Uint8Array]> {
    return this.#map.entries();
  }

  lookup(key: Uint8Array): Uint8Array | undefined {
    return this.#map.lookup(key);
  }

  update(key: Uint8Array, value: Uint8Array): void {
    this.#map.update(key, value);
    this.#note(key, value, 1);
  }

  updateBatch(keys: Uint8Array, values: Uint8Array, count: number): void {
    let done = count;
    try {
      this.#map.updateBatch(keys, values, count);
    } catch (error) {
      done = error instanceof BatchError ? error.done : 0;
      throw error;
    } finally {
      this.#note(keys, values, done);
    }
  }

  delete(key: Uint8Array): boolean {
    const wasThere = this.#map.delete(key);
    this.#entries.delete(wordsOf(key), 0);
    return wasThere;
  }

  problem(): string | undefined {
    const { keyWords, valueWords } = this.#entries;
    let [known, changed, unknown] = [0, 0, 0];
    for (const { keys, values, count } of this.#map.chunks()) {
      const [keyWordsThere, valueWordsThere] = [wordsOf(keys), wordsOf(values)];
      for (let i = 0; i < count; i++) {
        const place = this.#entries.find(keyWordsThere, i * keyWords);
        if (place < 0) {
          unknown++;
          continue;
        }
        known++;
        if (!this.#entries.holds(place, valueWordsThere, i * valueWords, this.#theirs)) changed++;
      }
    }
    return difference(Math.max(0, this.#entries.size - known), changed, unknown);
  }

  restore(): void {
    const unknown: Uint8Array[] = [];
    for (const [key] of this.#map.entries()) {
      if (this.#entries.find(wordsOf(key), 0) < 0) unknown.push(key.slice());
    }
    // Deletions come first: a map that others have filled has no room.
    for (const key of unknown) this.#map.delete(key);
    for (const [key, value] of this.#entries.entries()) {
      const [keyBytes, valueBytes] = [bytesOf(key), bytesOf(value)];
      const there = this.#map.lookup(keyBytes);
      const place = this.#entries.find(key, 0);
      if (there && this.#entries.holds(place, wordsOf(there), 0, this.#theirs)) continue;
      this.#map.update(keyBytes, valueBytes);
    }
  }

  #note(keys: Uint8Array, values: Uint8Array, count: number): void {
    const [keyWords, valueWords] = [wordsOf(keys), wordsOf(values)];
    for (let i = 0; i < count; i++) {
      const keyAt = i * this.#entries.keyWords;
      this.#entries.set(keyWords, keyAt, valueWords, i * this.#entries.valueWords);
    }
  }
}

/** A mapped array. The programs do not read values behind the highest one that was written. */
export class ProgrammedArray extends MappedArray implements ProgrammedContent {
  readonly name: string;
  #copy: Uint8Array;

  constructor(map: BpfMap) {
    super(map);
    this.name = map.info.name;
    this.#copy = this.first(0).slice();
  }

  override wrote(at: number, length: number): void {
    const bytes = this.first(0);
    if (at + length > this.#copy.length) {
      const copy = new Uint8Array(bytes.length);
      copy.set(this.#copy);
      this.#copy = copy;
    }
    this.#copy.set(bytes.subarray(at, at + length), at);
  }

  problem(): string | undefined {
    const [there, wanted] = [wordsOf(this.first(0)), wordsOf(this.#copy)];
    let changed = 0;
    for (let i = 0; i < wanted.length; i++) if (there[i] !== wanted[i]) changed++;
    return changed === 0 ? undefined : `has ${changed} changed words`;
  }

  restore(): void {
    this.first(0).set(this.#copy);
  }
}

/** A mapped array of which the control plane writes some fields, always the same ones at once, and the programs others. */
export class ProgrammedParts extends MappedArray implements ProgrammedContent {
  readonly name: string;
  readonly #parts = new Map<number, Uint8Array>();

  constructor(map: BpfMap) {
    super(map);
    this.name = map.info.name;
  }

  override wrote(at: number, length: number): void {
    this.#parts.set(at, this.first(0).slice(at, at + length));
  }

  problem(): string | undefined {
    const bytes = this.first(0);
    let changed = 0;
    for (const [at, wanted] of this.#parts) {
      if (wanted.some((byte, i) => bytes[at + i] !== byte)) changed++;
    }
    return changed === 0 ? undefined : `has ${changed} changed fields`;
  }

  restore(): void {
    for (const [at, wanted] of this.#parts) this.first(0).set(wanted, at);
  }
}

/** Fields in mapped memory that the control plane writes; the programs write others beside them. */
export class ProgrammedFields implements ProgrammedContent {
  readonly name: string;
  readonly #memory: { readonly bytes: Uint8Array };
  readonly #fields = new Map<number, Uint8Array>();

  constructor(name: string, memory: { readonly bytes: Uint8Array }) {
    this.name = name;
    this.#memory = memory;
  }

  set(at: number, bytes: Uint8Array): void {
    this.#fields.set(at, bytes.slice());
    this.#memory.bytes.set(bytes, at);
  }

  problem(): string | undefined {
    let changed = 0;
    for (const [at, wanted] of this.#fields) {
      if (wanted.some((byte, i) => this.#memory.bytes[at + i] !== byte)) changed++;
    }
    return changed === 0 ? undefined : `has ${changed} changed fields`;
  }

  restore(): void {
    for (const [at, wanted] of this.#fields) this.#memory.bytes.set(wanted, at);
  }
}

/** The maps that only the control plane writes, for the audit. */
export class ProgrammedContents {
  readonly all: ProgrammedContent[] = [];
  readonly #platform: Platform;
  readonly #opened: Disposal;

  /** `opened` unmaps arrays. */
  constructor(platform: Platform, opened: Disposal) {
    this.#platform = platform;
    this.#opened = opened;
  }

  /** Adds an array, in mapped memory. Throws SysError. */
  array(map: BpfMap): MappedArray {
    const array = this.#opened.use(new ProgrammedArray(map));
    this.all.push(array);
    return array;
  }

  /** Adds an array whose elements the programs write in part. Throws SysError. */
  parts(map: BpfMap): MappedArray {
    const array = this.#opened.use(new ProgrammedParts(map));
    this.all.push(array);
    return array;
  }

  /** Adds a hash map; `theirs`: offset in bytes of a word of its values that the programs write. Throws SysError. */
  map(map: BpfMap, theirs?: number): ProgrammedMap {
    const [seed] = new Uint32Array(this.#platform.randomBytes(4).slice().buffer);
    const programmed = new ProgrammedMap(map, seed!, theirs);
    this.all.push(programmed);
    return programmed;
  }
}
