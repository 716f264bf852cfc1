import type { BpfMap, Mapping } from '@heddle/ebpf';

/** The values of an array map, in place. */
export interface ArrayMemory {
  /** How many values the map has. */
  readonly length: number;
  /** The first values, at least `count` of them; what an earlier call gave is not to be used. */
  first(count: number): Uint8Array;
  /** To be called after bytes were written, by their place from the first value on. */
  wrote(at: number, length: number): void;
}

/**
 * An array map in memory, as far as it is used. The kernel puts all pages of a mapping in place at
 * once, so one of the whole map would count as resident in full. Places are given out from the
 * lowest on, so a mapping of the first values is enough; it grows by doubling.
 */
export class MappedArray implements ArrayMemory, Disposable {
  readonly length: number;
  private readonly map: BpfMap;
  private mapping: Mapping;
  private mapped: number;

  /** Maps what an earlier agent has used. Throws SysError. */
  constructor(map: BpfMap) {
    this.map = map;
    this.length = map.info.maxEntries;
    using whole = map.mmap();
    this.mapped = Math.min(this.length, Math.max(1024, usedValues(whole.bytes, this.length)));
    this.mapping = map.mmap(true, this.mapped);
  }

  first(count: number): Uint8Array {
    if (count > this.mapped) {
      const mapped = Math.min(this.length, Math.max(count, 2 * this.mapped));
      const mapping = this.map.mmap(true, mapped);
      this.mapping[Symbol.dispose]();
      this.mapping = mapping;
      this.mapped = mapped;
    }
    return this.mapping.bytes;
  }

  /** The kernel has it already; see ProgrammedArray. */
  wrote(_at: number, _length: number): void {}

  [Symbol.dispose](): void {
    this.mapping[Symbol.dispose]();
  }
}

/** Number of the last value that isn't zero, from 1; 0 if all are. */
function usedValues(bytes: Uint8Array, length: number): number {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  let end = words.length;
  while (end > 0 && words[end - 1] === 0) end--;
  return Math.ceil(end / (words.length / length));
}
