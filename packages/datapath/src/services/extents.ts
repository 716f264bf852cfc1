/** Nanoseconds in which a released extent is not allocated again: a running program may still read it. */
export const graceNs = 100_000_000n;

/**
 * Allocates extents of consecutive numbers from 0 to `size` - 1. A released extent is allocated again only after a
 * grace period: BPF programs run for microseconds, and one that has read the old numbers just before the switch must
 * still find the old content.
 */
export class Extents {
  /** Free extents, sorted by start, never adjacent. */
  readonly #free: { start: number; length: number }[];
  readonly #resting: { start: number; length: number; since: bigint }[] = [];
  readonly #now: () => bigint;
  readonly size: number;
  /** The number of allocated numbers. */
  used = 0;

  /** `now` is a monotonic clock in nanoseconds. */
  constructor(size: number, now: () => bigint) {
    this.size = size;
    this.#now = now;
    this.#free = size > 0 ? [{ start: 0, length: size }] : [];
  }

  /** Allocates the first free extent of that length and returns its start, or undefined if there is none. */
  allocate(length: number): number | undefined {
    this.#freeRested();
    const at = this.#free.findIndex((extent) => extent.length >= length);
    if (at < 0) return undefined;
    const extent = this.#free[at]!;
    const start = extent.start;
    extent.start += length;
    extent.length -= length;
    if (extent.length === 0) this.#free.splice(at, 1);
    this.used += length;
    return start;
  }

  /** Allocates a given extent, which was found in use at the start. Returns false when part of it is allocated. */
  reserve(start: number, length: number): boolean {
    const at = this.#free.findIndex(
      (extent) => extent.start <= start && start + length <= extent.start + extent.length,
    );
    if (at < 0 || length === 0) return false;
    const extent = this.#free[at]!;
    const after = extent.start + extent.length - (start + length);
    const pieces = [
      { start: extent.start, length: start - extent.start },
      { start: start + length, length: after },
    ].filter((piece) => piece.length > 0);
    this.#free.splice(at, 1, ...pieces);
    this.used += length;
    return true;
  }

  /** Releases an extent; it is free after the grace period. */
  release(start: number, length: number): void {
    if (length === 0) return;
    this.used -= length;
    this.#resting.push({ start, length, since: this.#now() });
  }

  #freeRested(): void {
    if (this.#resting.length === 0) return;
    const until = this.#now() - graceNs;
    let freed = 0;
    while (freed < this.#resting.length && this.#resting[freed]!.since <= until) {
      this.#insert(this.#resting[freed]!.start, this.#resting[freed]!.length);
      freed++;
    }
    if (freed > 0) this.#resting.splice(0, freed);
  }

  #insert(start: number, length: number): void {
    let low = 0;
    let high = this.#free.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#free[middle]!.start < start) low = middle + 1;
      else high = middle;
    }
    const before = this.#free[low - 1];
    const after = this.#free[low];
    const joinsAfter = after !== undefined && start + length === after.start;
    if (before !== undefined && before.start + before.length === start) {
      before.length += length + (joinsAfter ? after.length : 0);
      if (joinsAfter) this.#free.splice(low, 1);
    } else if (joinsAfter) {
      after.start = start;
      after.length += length;
    } else {
      this.#free.splice(low, 0, { start, length });
    }
  }
}
