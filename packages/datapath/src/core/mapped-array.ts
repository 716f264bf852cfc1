import type { BpfMap, Mapping } from '@heddle/ebpf';

/** The values of an array map, in place. */
export interface ArrayMemory {
  /** The number of values that the map has. */
  readonly length: number;
  /** Returns the first values, at least `count` of them. What an earlier call returned is invalid then. */
  first(count: number): Uint8Array;
  /** To be called after bytes were written; `at` is their offset from the first value. */
  wrote(at: number, length: number): void;
}

/**
 * An array map in mapped memory, as far as it is used. The kernel populates all pages of a mapping at once, so a
 * mapping of the whole map would be resident in full. Elements are allocated from the lowest on, so a mapping of
 * the first ones is enough; it grows by doubling.
 */
export class MappedArray implements ArrayMemory, Disposable {
  readonly length: number;
  readonly #map: BpfMap;
  #mapping: Mapping;
  #mapped: number;

  /** Maps the values that an earlier agent has used. Throws SysError. */
  constructor(map: BpfMap) {
    this.#map = map;
    this.length = map.info.maxEntries;
    using whole = map.mmap();
    this.#mapped = Math.min(this.length, Math.max(1024, usedValues(whole.bytes, this.length)));
    this.#mapping = map.mmap(true, this.#mapped);
  }

  first(count: number): Uint8Array {
    if (count > this.#mapped) {
      const mapped = Math.min(this.length, Math.max(count, 2 * this.#mapped));
      const mapping = this.#map.mmap(true, mapped);
      this.#mapping[Symbol.dispose]();
      this.#mapping = mapping;
      this.#mapped = mapped;
    }
    return this.#mapping.bytes;
  }

  /** The memory is the kernel's, so there is nothing to do; ProgrammedArray keeps a copy. */
  wrote(_at: number, _length: number): void {}

  [Symbol.dispose](): void {
    this.#mapping[Symbol.dispose]();
  }
}

/** Returns the number of values up to the last one that isn't zero. */
function usedValues(bytes: Uint8Array, length: number): number {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  let end = words.length;
  while (end > 0 && words[end - 1] === 0) end--;
  return Math.ceil(end / (words.length / length));
}
