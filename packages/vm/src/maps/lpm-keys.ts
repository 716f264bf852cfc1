import { errno } from '@heddle/sys';
import { HashKeys, type Keys } from './keys.ts';

/**
 * Prefixes (struct bpf_lpm_trie_key: length in bits, then bytes in network order). A lookup returns the
 * longest prefix of the key, up to the key's own length: it tries the used lengths in descending order.
 */
export class LpmKeys implements Keys {
  readonly #keys: HashKeys;
  readonly #keySize: number;
  readonly #maxBits: number;
  /** The number of prefixes of each length. */
  readonly #counts: Int32Array;
  readonly #scratch: Uint8Array;
  readonly #scratchView: DataView;
  /** Each key as it was last written, with the bits behind the prefix. */
  readonly #written: Uint8Array[] = [];

  constructor(keySize: number, maxEntries: number) {
    this.#keys = new HashKeys(keySize, maxEntries);
    this.#keySize = keySize;
    this.#maxBits = (keySize - 4) * 8;
    this.#counts = new Int32Array(this.#maxBits + 1);
    this.#scratch = new Uint8Array(keySize);
    this.#scratchView = new DataView(this.#scratch.buffer);
  }

  get size(): number {
    return this.#keys.size;
  }

  get slots(): number {
    return this.#keys.slots;
  }

  find(view: DataView, at: number): number {
    const bits = view.getUint32(at, true);
    if (bits > this.#maxBits) return -1;
    for (let length = bits; length >= 0; length--) {
      if (this.#counts[length] === 0) continue;
      this.#mask(view, at, length);
      const slot = this.#keys.find(this.#scratchView, 0);
      if (slot >= 0) return slot;
    }
    return -1;
  }

  findExact(view: DataView, at: number): number {
    const bits = view.getUint32(at, true);
    if (bits > this.#maxBits) return -1;
    this.#mask(view, at, bits);
    return this.#keys.find(this.#scratchView, 0);
  }

  insert(view: DataView, at: number): number {
    const bits = view.getUint32(at, true);
    if (bits > this.#maxBits) return -errno.EINVAL;
    this.#mask(view, at, bits);
    const slot = this.#keys.insert(this.#scratchView, 0);
    // A full trie fails with ENOSPC, a full hash map with E2BIG.
    if (slot < 0) return -errno.ENOSPC;
    this.#counts[bits] = this.#counts[bits]! + 1;
    this.rewrite(slot, view, at);
    return slot;
  }

  remove(slot: number): void {
    this.#keys.copy(slot, this.#scratch, 0);
    const bits = this.#scratchView.getUint32(0, true);
    this.#counts[bits] = this.#counts[bits]! - 1;
    this.#keys.remove(slot);
  }

  next(slot: number): number {
    return this.#keys.next(slot);
  }

  copy(slot: number, into: Uint8Array, at: number): void {
    into.set(this.#written[slot]!, at);
  }

  rewrite(slot: number, view: DataView, at: number): void {
    this.#written[slot] = new Uint8Array(view.buffer, view.byteOffset + at, this.#keySize).slice();
  }

  /** Returns the first `bits` bits of the key, the others zero. */
  #mask(view: DataView, at: number, bits: number): void {
    this.#scratchView.setUint32(0, bits, true);
    for (let i = 4; i < this.#keySize; i++) {
      const left = bits - (i - 4) * 8;
      const mask = left >= 8 ? 0xff : left <= 0 ? 0 : (0xff00 >> left) & 0xff;
      this.#scratch[i] = view.getUint8(at + i) & mask;
    }
  }
}
