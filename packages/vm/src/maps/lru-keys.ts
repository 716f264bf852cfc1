import { HashKeys, type Keys } from './keys.ts';

/**
 * Keys of which the least recently used one is evicted when there is no room. Lookups by programs and all
 * updates are uses; lookups by bpf(2) are not. (The kernel has a mark for each element and works through
 * its list in batches: it evicts old elements, too, but not exactly the oldest, and some before the map is
 * full.)
 */
export class LruKeys implements Keys {
  readonly #keys: HashKeys;
  readonly #maxEntries: number;
  readonly #onEvict: (slot: number) => void;
  /** A circular list of slots + 1 through 0, the most recently used first. */
  #newer = new Int32Array(64);
  #older = new Int32Array(64);

  constructor(keySize: number, maxEntries: number, onEvict: (slot: number) => void) {
    this.#keys = new HashKeys(keySize, maxEntries);
    this.#maxEntries = maxEntries;
    this.#onEvict = onEvict;
  }

  get size(): number {
    return this.#keys.size;
  }

  get slots(): number {
    return this.#keys.slots;
  }

  find(view: DataView, at: number): number {
    return this.#keys.find(view, at);
  }

  findExact(view: DataView, at: number): number {
    return this.#keys.find(view, at);
  }

  insert(view: DataView, at: number): number {
    if (this.#keys.size >= this.#maxEntries) {
      const oldest = this.#newer[0]! - 1;
      this.#onEvict(oldest);
      this.remove(oldest);
    }
    const slot = this.#keys.insert(view, at);
    if (slot + 1 >= this.#newer.length) {
      this.#newer = doubled(this.#newer);
      this.#older = doubled(this.#older);
    }
    this.#pushFront(slot + 1);
    return slot;
  }

  remove(slot: number): void {
    this.#unlink(slot + 1);
    this.#keys.remove(slot);
  }

  next(slot: number): number {
    return this.#keys.next(slot);
  }

  copy(slot: number, into: Uint8Array, at: number): void {
    this.#keys.copy(slot, into, at);
  }

  /** Records a use of an element. */
  touch(slot: number): void {
    if (this.#older[0] === slot + 1) return;
    this.#unlink(slot + 1);
    this.#pushFront(slot + 1);
  }

  #pushFront(node: number): void {
    const first = this.#older[0]!;
    this.#older[node] = first;
    this.#newer[node] = 0;
    this.#newer[first] = node;
    this.#older[0] = node;
  }

  #unlink(node: number): void {
    const newer = this.#newer[node]!;
    const older = this.#older[node]!;
    this.#older[newer] = older;
    this.#newer[older] = newer;
  }
}

function doubled(words: Int32Array): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(2 * words.length);
  larger.set(words);
  return larger;
}
