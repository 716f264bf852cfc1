import { parseIp } from '@heddle/sys';
import { addressAt, type Family, indexIn, type PodRange } from './ranges.ts';

/** A free address, and its host number in its range. */
export interface FreeAddress {
  readonly address: string;
  readonly index: number;
}

/** Returns true for an address that may be given away. */
export type IsUsable = (address: string) => boolean;

/** The addresses of one family: which are used, which are resting, and which one was given away last. */
export class FamilyPool {
  readonly family: Family;
  readonly #isUsable: IsUsable;
  readonly #used = new Set<string>();
  /** The times at which addresses were released, the oldest first. */
  readonly #released = new Map<string, number>();
  #ranges: readonly PodRange[] = [];
  #last: string | undefined;

  constructor(family: Family, isUsable: IsUsable) {
    this.family = family;
    this.#isUsable = isUsable;
  }

  get ranges(): readonly PodRange[] {
    return this.#ranges;
  }

  /** The number of addresses that pods can have. */
  get total(): number {
    return this.#ranges.reduce((sum, { first, last }) => sum + Math.max(0, last - first + 1), 0);
  }

  /** The number of used addresses, also of those outside of the ranges. */
  get used(): number {
    return this.#used.size;
  }

  setRanges(ranges: readonly PodRange[]): void {
    this.#ranges = ranges.filter(({ family }) => family === this.family);
  }

  has(address: string): boolean {
    return this.#place(address) !== undefined;
  }

  isUsed(address: string): boolean {
    return this.#used.has(address);
  }

  take(address: string): void {
    this.#released.delete(address);
    this.#used.add(address);
    this.#last = address;
  }

  /** Notes an address that a pod has already. The next allocation comes after the highest of these. */
  reserve(address: string): void {
    const last = this.#last;
    this.take(address);
    if (last !== undefined && this.#position(last) > this.#position(address)) this.#last = last;
  }

  release(address: string, nowMs: number): void {
    if (!this.#used.delete(address)) return;
    this.#released.delete(address);
    this.#released.set(address, nowMs);
  }

  /** Forgets the addresses that were released at this time or earlier. */
  rest(untilMs: number): void {
    for (const [address, releasedMs] of this.#released) {
      if (releasedMs > untilMs) return;
      this.#released.delete(address);
    }
  }

  /** Returns the free addresses that do not rest, beginning after the one that was given away last. */
  *free(): Generator<FreeAddress> {
    const sizes = this.#ranges.map(({ first, last }) => Math.max(0, last - first + 1));
    const total = sizes.reduce((sum, size) => sum + size, 0);
    const start = this.#last === undefined ? 0 : this.#position(this.#last) + 1;
    for (let step = 0; step < total; step++) {
      let at = (start + step) % total;
      let range = 0;
      while (at >= sizes[range]!) at -= sizes[range++]!;
      const index = this.#ranges[range]!.first + at;
      const address = addressAt(this.#ranges[range]!, index);
      if (this.#isFree(address) && !this.#released.has(address)) yield { address, index };
    }
  }

  /** Returns the free addresses that still rest, the longest released one first. */
  *resting(): Generator<FreeAddress> {
    for (const address of this.#released.keys()) {
      const place = this.#place(address);
      if (place && this.#isFree(address)) yield { address, index: place.index };
    }
  }

  /** Returns the free address with this host number, of the first range that has it. */
  withIndex(index: number, mayRest: boolean): FreeAddress | undefined {
    for (const range of this.#ranges) {
      if (index < range.first || index > range.last) continue;
      const address = addressAt(range, index);
      if (this.#isFree(address) && (mayRest || !this.#released.has(address))) {
        return { address, index };
      }
    }
    return undefined;
  }

  #isFree(address: string): boolean {
    return !this.#used.has(address) && this.#isUsable(address);
  }

  /** Returns the place of an address that a pod can have, or undefined for other addresses. */
  #place(address: string): { readonly range: number; readonly index: number } | undefined {
    const bytes = parseIp(address);
    for (let range = 0; bytes && range < this.#ranges.length; range++) {
      const { first, last } = this.#ranges[range]!;
      const index = indexIn(this.#ranges[range]!, bytes);
      if (index !== undefined && index >= first && index <= last) return { range, index };
    }
    return undefined;
  }

  /** Returns the position in the sequence of all ranges; -1 for an address outside of them. */
  #position(address: string): number {
    const place = this.#place(address);
    if (!place) return -1;
    let before = 0;
    for (const { first, last } of this.#ranges.slice(0, place.range)) {
      before += Math.max(0, last - first + 1);
    }
    return before + place.index - this.#ranges[place.range]!.first;
  }
}
