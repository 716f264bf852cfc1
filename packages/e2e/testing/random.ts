/**
 * Random numbers that are the same for the same seed, so that a failure can be had again. Its name
 * and HEDDLE_SEED (a number) make the seed.
 */
export class Random {
  #state: number;

  constructor(name: string, seed = Number(process.env.HEDDLE_SEED ?? 1)) {
    this.#state = seed;
    for (const character of name)
      this.#state = Math.imul(this.#state, 31) + character.charCodeAt(0);
  }

  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    // xorshift of 32 bits after a constant step (as in splitmix): good enough to choose by.
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let bits = this.#state;
    bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
    bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
    return Math.floor((((bits ^ (bits >>> 16)) >>> 0) / 2 ** 32) * limit);
  }

  /** True once in `times`. */
  oneIn(times: number): boolean {
    return this.below(times) === 0;
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)]!;
  }

  /** Each item with a probability of one half. */
  some<Item>(items: readonly Item[]): Item[] {
    return items.filter(() => this.oneIn(2));
  }

  /** Another sequence, for something that happens at the same time. */
  fork(): Random {
    return new Random('fork', this.below(2 ** 31));
  }
}
