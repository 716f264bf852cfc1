import { seededRandom } from '@heddle/vm/internal';

/** Choices that a seed determines. */
export class Random {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = seededRandom(seed);
  }

  /** A whole number from 0 to below `limit` (at most 2^32). */
  below(limit: number): number {
    return Math.floor((this.#next() / 2 ** 32) * limit);
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)]!;
  }

  /** So many of the items, each at most once, in their order. */
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
}

/** Hash of a text, 32 bits: FNV-1a with MurmurHash3's finalizer. */
export function hashText(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  }
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
