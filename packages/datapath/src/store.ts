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
  readonly slots: Slots;
  readonly backends: Uint8Array;
  readonly backendStats: Uint8Array;
}

/** The `slots` array: a backend's id at each place. */
export class Slots {
  /** The kernel keeps each value of an array at a multiple of 8 bytes: every second word counts. */
  private readonly words: Uint32Array;

  constructor(bytes: Uint8Array) {
    this.words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  }

  get length(): number {
    return this.words.length / 2;
  }

  write(first: number, ids: readonly number[]): void {
    ids.forEach((id, i) => {
      this.words[(first + i) * 2] = id;
    });
  }

  /** Whether exactly these stand from `first` on. */
  holds(first: number, ids: readonly number[]): boolean {
    return (
      first + ids.length <= this.length && ids.every((id, i) => this.words[(first + i) * 2] === id)
    );
  }
}

/** A map that has no room for a row. What is in force stays, and space may return. */
export class MapFull extends Error {
  override readonly name = 'MapFull';

  /** `setting` is the configuration's name of the size, e.g. `sizes.backends`. */
  constructor(map: string, maxEntries: number, setting: string) {
    super(`write map ${map}: full with ${maxEntries} entries (raise ${setting})`);
  }
}

/** Bytes as text, one character each: a key for Map and Set. */
export function keyText(bytes: Uint8Array): string {
  return String.fromCharCode.apply(undefined, bytes as unknown as number[]);
}

/** The bytes of `keyText`. */
export function keyBytes(text: string, into: Uint8Array, offset: number): void {
  for (let i = 0; i < text.length; i++) into[offset + i] = text.charCodeAt(i);
}
