/**
 * Returns a generator of 32-bit random numbers that the seed determines: xorshift128 (Marsaglia, 2003),
 * initialized by the splitmix finalizer, so that close seeds give different sequences.
 */
export function seededRandom(seed: number): () => number {
  let state = seed | 0;
  const next = () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return mixed ^ (mixed >>> 16);
  };
  let [x, y, z, w] = [next(), next(), next(), next() | 1];
  return () => {
    const t = x ^ (x << 11);
    [x, y, z] = [y, z, w];
    w = w ^ (w >>> 19) ^ t ^ (t >>> 8);
    return w >>> 0;
  };
}

/** Choices that a seed determines: the same seed gives the same choices. */
export class Random {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = seededRandom(seed);
  }

  /** Returns a whole number from 0 to `limit` - 1. `limit` is at most 2^32. */
  below(limit: number): number {
    return Math.floor((this.#next() / 2 ** 32) * limit);
  }

  /** Returns true with a probability of 1 / `times`. */
  oneIn(times: number): boolean {
    return this.below(times) === 0;
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)]!;
  }

  /** Returns each item with a probability of one half. */
  some<Item>(items: readonly Item[]): Item[] {
    return items.filter(() => this.oneIn(2));
  }

  /** Returns `count` of the items, each at most once, in their order. */
  sample<Item>(items: readonly Item[], count: number): Item[] {
    const places = items.map((_, i) => i);
    for (let i = 0; i < count; i++) {
      const other = i + this.below(places.length - i);
      [places[i], places[other]] = [places[other]!, places[i]!];
    }
    return places
      .slice(0, count)
      .sort((a, b) => a - b)
      .map((place) => items[place]!);
  }

  /** Returns another sequence of choices, for work that runs at the same time. */
  fork(): Random {
    return new Random(this.below(2 ** 32));
  }
}
