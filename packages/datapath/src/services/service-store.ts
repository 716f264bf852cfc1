import type { KeyedMap } from '../core/keyed-map.ts';
import type { ArrayMemory } from '../core/mapped-array.ts';

/** The maps of services. The arrays are the kernel's memory, mapped. */
export interface ServiceStore {
  readonly services: KeyedMap;
  readonly addresses: KeyedMap;
  readonly addressFilter: ArrayMemory;
  readonly slots: Slots;
  readonly backends: ArrayMemory;
  readonly backendStats: ArrayMemory;
}

/** The map `slots`: the id of a backend in each slot. */
export class Slots {
  readonly #memory: ArrayMemory;
  #bytes: Uint8Array | undefined;
  #words: Uint32Array = new Uint32Array(0);

  constructor(memory: ArrayMemory) {
    this.#memory = memory;
  }

  get length(): number {
    return this.#memory.length;
  }

  /** Writes ids to the slots from `first` on. */
  write(first: number, ids: readonly number[]): void {
    const words = this.#reach(first + ids.length);
    for (let i = 0; i < ids.length; i++) words[(first + i) * 2] = ids[i]!;
    this.#memory.wrote(first * 8, ids.length * 8);
  }

  /** Returns true when the slots from `first` on have exactly these ids. */
  holds(first: number, ids: readonly number[]): boolean {
    if (first + ids.length > this.length) return false;
    const words = this.#reach(first + ids.length);
    return ids.every((id, i) => words[(first + i) * 2] === id);
  }

  /** The kernel aligns each value of an array to 8 bytes, so every second word is an id. */
  #reach(count: number): Uint32Array {
    const bytes = this.#memory.first(count);
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    }
    return this.#words;
  }
}
