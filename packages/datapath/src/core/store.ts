import type { ArrayMemory } from './mapped-array.ts';

/** What Heddle needs of a hash map in the kernel; `BpfMap` has it, and the tests' double. */
export interface KeyedMap {
  readonly info: { readonly name: string; readonly maxEntries: number };
  update(key: Uint8Array, value: Uint8Array): void;
  /** False when there is no such key. */
  delete(key: Uint8Array): boolean;
  entries(): Iterable<readonly [Uint8Array, Uint8Array]>;
  /** `count` keys and values back to back. Throws when one of them can't be written. */
  updateBatch(keys: Uint8Array, values: Uint8Array, count: number): void;
}

/** The maps that services are kept in. The arrays are the kernel's own memory, mapped. */
export interface ServiceStore {
  readonly services: KeyedMap;
  readonly addresses: KeyedMap;
  readonly addressFilter: ArrayMemory;
  readonly slots: Slots;
  readonly backends: ArrayMemory;
  readonly backendStats: ArrayMemory;
}

/** The `slots` array: a backend's id at each place. */
export class Slots {
  private readonly memory: ArrayMemory;
  private bytes: Uint8Array | undefined;
  private words: Uint32Array = new Uint32Array(0);

  constructor(memory: ArrayMemory) {
    this.memory = memory;
  }

  get length(): number {
    return this.memory.length;
  }

  write(first: number, ids: readonly number[]): void {
    const words = this.reach(first + ids.length);
    for (let i = 0; i < ids.length; i++) words[(first + i) * 2] = ids[i]!;
    this.memory.wrote(first * 8, ids.length * 8);
  }

  /** Whether exactly these stand from `first` on. */
  holds(first: number, ids: readonly number[]): boolean {
    if (first + ids.length > this.length) return false;
    const words = this.reach(first + ids.length);
    return ids.every((id, i) => words[(first + i) * 2] === id);
  }

  /** The kernel keeps each value of an array at a multiple of 8 bytes: every second word counts. */
  private reach(count: number): Uint32Array {
    const bytes = this.memory.first(count);
    if (bytes !== this.bytes) {
      this.bytes = bytes;
      this.words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    }
    return this.words;
  }
}

/** A map that has no room for a row. What is in force stays, and space may return. */
export class MapFull extends Error {
  override readonly name = 'MapFull';

  /** `setting` is the configuration's name of the size, e.g. `sizes.backends`. */
  constructor(map: string, maxEntries: number, setting: string, problem?: string) {
    const why = problem === undefined ? '' : `; making it larger failed: ${problem}`;
    super(`write map ${map}: full with ${maxEntries} entries (raise ${setting})${why}`);
  }
}

/** Bytes as text, one character each: a key for Map and Set. */
export function keyText(bytes: Uint8Array): string {
  // Spreading the bytes would take an iterator's turn for each.
  return String.fromCharCode.apply(undefined, bytes as unknown as number[]);
}

/** The bytes of `keyText`. */
export function keyBytes(text: string, into: Uint8Array, offset: number): void {
  for (let i = 0; i < text.length; i++) into[offset + i] = text.charCodeAt(i);
}
