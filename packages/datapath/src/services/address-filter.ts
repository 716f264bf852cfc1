import type { ArrayMemory } from '../core/mapped-array.ts';

/**
 * The map `address_filter`, a Bloom filter with one hash: by it the BPF programs pass most packets that are for no
 * service, without a lookup in a hash map. A bit stays when its address is removed: a false positive costs a lookup.
 */
export class AddressFilter {
  readonly #memory: ArrayMemory;

  constructor(memory: ArrayMemory) {
    this.#memory = memory;
  }

  /** Adds an address of 16 bytes. To be called before the address is in the map `addresses`. */
  add(address: Uint8Array): void {
    const { length } = this.#memory;
    const bit = mix(address) % (64 * length);
    this.#memory.first(length)[bit >>> 3]! |= 1 << (bit & 7);
    this.#memory.wrote(bit >>> 3, 1);
  }
}

/** Returns the same hash as address_filter_hit in bpf/lb/frontend.h. */
function mix(address: Uint8Array): number {
  const view = new DataView(address.buffer, address.byteOffset);
  let mixed = 0;
  for (let at = 0; at < 16; at += 4) mixed = (Math.imul(mixed, 31) + view.getUint32(at, true)) | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x85ebca6b);
  return (mixed ^ (mixed >>> 13)) >>> 0;
}
