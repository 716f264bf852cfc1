/** The methods of a hash map in the kernel that the datapath uses. `BpfMap` has them, and a test's map in memory. */
export interface KeyedMap {
  readonly info: { readonly name: string; readonly maxEntries: number };
  update(key: Uint8Array, value: Uint8Array): void;
  /** Returns false when there is no such key. */
  delete(key: Uint8Array): boolean;
  entries(): Iterable<readonly [Uint8Array, Uint8Array]>;
  /** Writes `count` keys and values that lie one after the other. Throws BatchError at the first that fails. */
  updateBatch(keys: Uint8Array, values: Uint8Array, count: number): void;
}

/** A map has no room for a row. What is programmed stays, and there may be room later. */
export class NoRoom extends Error {
  override readonly name = 'NoRoom';

  /** `setting` is the configuration's name of the size, e.g. `sizes.backends`. */
  constructor(map: string, maxEntries: number, setting: string, problem?: string) {
    const why = problem === undefined ? '' : `; making it larger failed: ${problem}`;
    super(`write map ${map}: full with ${maxEntries} entries (raise ${setting})${why}`);
  }
}

/** Returns bytes as text, one character for each: a key for Map and Set. */
export function keyText(bytes: Uint8Array): string {
  // Spreading the bytes would take an iterator's turn for each.
  return String.fromCharCode.apply(undefined, bytes as unknown as number[]);
}

/** Writes the bytes of a text that `keyText` made. */
export function keyBytes(text: string, into: Uint8Array, offset: number): void {
  for (let i = 0; i < text.length; i++) into[offset + i] = text.charCodeAt(i);
}

/** Returns a 32-bit number as the programs have it in memory: the key of an array. */
export function wordBytes(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

/** Returns the 32-bit number that `wordBytes` wrote. */
export function wordOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
}
