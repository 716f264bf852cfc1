/** The columns of a bucket. `count` is connections, or packets of a row about drops. */
export const column = { count: 0, bytesOut: 1, bytesIn: 2, resets: 3 } as const;
const columns = 4;

/** A resolution: the seconds of a bucket, and the number of buckets that are kept. */
export interface Tier {
  readonly seconds: number;
  readonly buckets: number;
}

/** 10 s for 15 minutes, 1 minute for 2 hours, 5 minutes for 24 hours. */
export const tiers: readonly Tier[] = [
  { seconds: 10, buckets: 90 },
  { seconds: 60, buckets: 120 },
  { seconds: 300, buckets: 288 },
];

/** The bytes that the buckets of one row take. */
export const rowBytes = tiers.reduce((sum, tier) => sum + tier.buckets * columns * 4, 0);

/** Returns the index of the finest tier that reaches back to `from`, both in milliseconds since 1970. */
export function tierFor(from: number, now: number): number {
  const index = tiers.findIndex((tier) => from >= now - tier.seconds * (tier.buckets - 1) * 1000);
  return index < 0 ? tiers.length - 1 : index;
}

/** Sums of a range of time. */
export interface Sums {
  count: number;
  bytesOut: number;
  bytesIn: number;
  resets: number;
}

/** The counts of one row over the last 24 hours, in rings of buckets that are allocated at once. */
export class Buckets {
  readonly #slots = tiers.map((tier) => new Float32Array(tier.buckets * columns));
  /** The number of the latest bucket of each tier, counted from 1970. */
  readonly #latest = tiers.map(() => -1);

  /** Adds to the buckets of a time in milliseconds since 1970. What is older than the ring is left out. */
  add(time: number, count: number, bytesOut: number, bytesIn: number, resets: number): void {
    for (let index = 0; index < tiers.length; index++) {
      const { seconds, buckets } = tiers[index]!;
      const number = Math.floor(time / (seconds * 1000));
      if (number <= this.#latest[index]! - buckets) continue;
      const slots = this.#slots[index]!;
      if (number > this.#latest[index]!) this.#advance(index, number);
      const at = (number % buckets) * columns;
      slots[at]! += count;
      slots[at + 1]! += bytesOut;
      slots[at + 2]! += bytesIn;
      slots[at + 3]! += resets;
    }
  }

  #advance(index: number, number: number): void {
    const { buckets } = tiers[index]!;
    const latest = this.#latest[index]!;
    this.#latest[index] = number;
    if (latest < 0) return;
    if (number - latest >= buckets) {
      this.#slots[index]!.fill(0);
      return;
    }
    for (let each = latest + 1; each <= number; each++) {
      const at = (each % buckets) * columns;
      this.#slots[index]!.fill(0, at, at + columns);
    }
  }

  /** Adds the buckets of a tier that begin in [from, to), in milliseconds since 1970, to `into`. */
  sum(index: number, from: number, to: number, into: Sums): void {
    const slots = this.#slots[index]!;
    const [first, end] = this.#range(index, from, to);
    const { buckets } = tiers[index]!;
    for (let number = first; number < end; number++) {
      const at = (number % buckets) * columns;
      into.count += slots[at]!;
      into.bytesOut += slots[at + 1]!;
      into.bytesIn += slots[at + 2]!;
      into.resets += slots[at + 3]!;
    }
  }

  /** Calls `visit` with the start (milliseconds since 1970) and the count of each bucket that is not 0. */
  each(
    index: number,
    from: number,
    to: number,
    visit: (start: number, count: number) => void,
  ): void {
    const slots = this.#slots[index]!;
    const [first, end] = this.#range(index, from, to);
    const { buckets, seconds } = tiers[index]!;
    for (let number = first; number < end; number++) {
      const count = slots[(number % buckets) * columns]!;
      if (count !== 0) visit(number * seconds * 1000, count);
    }
  }

  /** Returns the numbers of the first bucket that is kept in a range, and of the one after the last. */
  #range(index: number, from: number, to: number): [number, number] {
    const { buckets, seconds } = tiers[index]!;
    const latest = this.#latest[index]!;
    if (latest < 0) return [0, 0];
    const first = Math.max(Math.ceil(from / (seconds * 1000)), latest - buckets + 1, 0);
    return [first, Math.min(Math.ceil(to / (seconds * 1000)), latest + 1)];
  }
}

/** Returns a range whose ends are starts of buckets of a tier: the whole buckets that hold [from, to). */
export function wholeBuckets(index: number, from: number, to: number): [number, number] {
  const width = tiers[index]!.seconds * 1000;
  return [
    Math.floor(from / width) * width,
    Math.max(Math.ceil(to / width), Math.floor(from / width) + 1) * width,
  ];
}
