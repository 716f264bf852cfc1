/**
 * A hash table with entries of a fixed size in one array of words, for many entries in little memory. It uses open
 * addressing with linear probing. Sizes are in words of 32 bits.
 */
export class EntryTable {
  readonly keyWords: number;
  readonly valueWords: number;
  readonly #seed: number;
  readonly #stride: number;
  #capacity = 64;
  #words: Uint32Array;
  #used: Uint8Array;
  #size = 0;

  /** `seed` is random, so that a client cannot choose keys that collide. */
  constructor(keyWords: number, valueWords: number, seed: number) {
    this.keyWords = keyWords;
    this.valueWords = valueWords;
    this.#seed = seed;
    this.#stride = keyWords + valueWords;
    this.#words = new Uint32Array(this.#capacity * this.#stride);
    this.#used = new Uint8Array(this.#capacity);
  }

  get size(): number {
    return this.#size;
  }

  /** Returns the index of the key that begins at `keys[at]`, or -1. The index is valid until the next change. */
  find(keys: Uint32Array, at: number): number {
    const place = this.#search(keys, at);
    return this.#used[place] === 1 ? place : -1;
  }

  /** Returns true when the value at an index equals the one at `values[at]`, without regard to the word `ignored`. */
  holds(place: number, values: Uint32Array, at: number, ignored = -1): boolean {
    const start = place * this.#stride + this.keyWords;
    for (let i = 0; i < this.valueWords; i++) {
      if (this.#words[start + i] !== values[at + i] && i !== ignored) return false;
    }
    return true;
  }

  set(keys: Uint32Array, keyAt: number, values: Uint32Array, valueAt: number): void {
    let place = this.#search(keys, keyAt);
    if (this.#used[place] === 0) {
      if (2 * (this.#size + 1) > this.#capacity) {
        this.#grow();
        place = this.#search(keys, keyAt);
      }
      this.#used[place] = 1;
      this.#size++;
    }
    const start = place * this.#stride;
    for (let i = 0; i < this.keyWords; i++) this.#words[start + i] = keys[keyAt + i]!;
    for (let i = 0; i < this.valueWords; i++) {
      this.#words[start + this.keyWords + i] = values[valueAt + i]!;
    }
  }

  delete(keys: Uint32Array, at: number): void {
    let gap = this.#search(keys, at);
    if (this.#used[gap] === 0) return;
    this.#size--;
    // Later entries of the same probe sequence move up, so that a search doesn't end at the gap.
    for (let next = gap; ; ) {
      next = (next + 1) & (this.#capacity - 1);
      if (this.#used[next] === 0) break;
      const home = this.#home(this.#words, next * this.#stride);
      const distance = (from: number) => (next - from) & (this.#capacity - 1);
      if (distance(home) < distance(gap)) continue;
      this.#words.copyWithin(gap * this.#stride, next * this.#stride, (next + 1) * this.#stride);
      gap = next;
    }
    this.#used[gap] = 0;
  }

  /** Returns key and value of each entry, valid until the next step. The table must not change meanwhile. */
  *entries(): Generator<readonly [Uint32Array, Uint32Array]> {
    for (let place = 0; place < this.#capacity; place++) {
      if (this.#used[place] === 0) continue;
      const start = place * this.#stride;
      const middle = start + this.keyWords;
      yield [
        this.#words.subarray(start, middle),
        this.#words.subarray(middle, start + this.#stride),
      ];
    }
  }

  /** Returns the index of the key, or the free index for it. */
  #search(keys: Uint32Array, at: number): number {
    let place = this.#home(keys, at);
    while (this.#used[place] === 1 && !this.#isAt(place, keys, at)) {
      place = (place + 1) & (this.#capacity - 1);
    }
    return place;
  }

  #isAt(place: number, keys: Uint32Array, at: number): boolean {
    const start = place * this.#stride;
    for (let i = 0; i < this.keyWords; i++) {
      if (this.#words[start + i] !== keys[at + i]) return false;
    }
    return true;
  }

  #home(keys: Uint32Array, at: number): number {
    let mixed = this.#seed;
    for (let i = 0; i < this.keyWords; i++) {
      mixed = Math.imul(mixed ^ keys[at + i]!, 0x85ebca6b);
      mixed ^= mixed >>> 13;
    }
    mixed = Math.imul(mixed, 0xc2b2ae35);
    return ((mixed ^ (mixed >>> 16)) >>> 0) & (this.#capacity - 1);
  }

  #grow(): void {
    const [words, used] = [this.#words, this.#used];
    this.#capacity *= 2;
    this.#words = new Uint32Array(this.#capacity * this.#stride);
    this.#used = new Uint8Array(this.#capacity);
    for (let old = 0; old < used.length; old++) {
      if (used[old] === 0) continue;
      const from = old * this.#stride;
      const place = this.#search(words, from);
      this.#used[place] = 1;
      this.#words.set(words.subarray(from, from + this.#stride), place * this.#stride);
    }
  }
}
