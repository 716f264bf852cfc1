/** Nanoseconds that a freed extent rests, so that no running program still reads it. */
export const graceNs = 100_000_000n;

/**
 * Hands out stretches of numbers from 0 to `size` - 1, and takes them back. What was freed is given
 * out again only after a grace period: BPF programs run for microseconds, and one that read the
 * old stretch's number just before the switch must still find the old content.
 */
export class Extents {
  /** Free stretches, sorted by start, never adjacent. */
  private readonly free: { start: number; length: number }[];
  private readonly resting: { start: number; length: number; since: bigint }[] = [];
  private readonly now: () => bigint;
  readonly size: number;
  used = 0;

  /** `now` is a monotonic clock in nanoseconds. */
  constructor(size: number, now: () => bigint) {
    this.size = size;
    this.now = now;
    this.free = size > 0 ? [{ start: 0, length: size }] : [];
  }

  /** Start of a free stretch, or undefined when there is none of that length. */
  allocate(length: number): number | undefined {
    this.wake();
    const at = this.free.findIndex((extent) => extent.length >= length);
    if (at < 0) return undefined;
    const extent = this.free[at]!;
    const start = extent.start;
    extent.start += length;
    extent.length -= length;
    if (extent.length === 0) this.free.splice(at, 1);
    this.used += length;
    return start;
  }

  /** Takes a given stretch, as found in use at the start. False when part of it is taken. */
  reserve(start: number, length: number): boolean {
    const at = this.free.findIndex(
      (extent) => extent.start <= start && start + length <= extent.start + extent.length,
    );
    if (at < 0 || length === 0) return false;
    const extent = this.free[at]!;
    const after = extent.start + extent.length - (start + length);
    const pieces = [
      { start: extent.start, length: start - extent.start },
      { start: start + length, length: after },
    ].filter((piece) => piece.length > 0);
    this.free.splice(at, 1, ...pieces);
    this.used += length;
    return true;
  }

  /** Gives a stretch back; it can be had again after the grace period. */
  release(start: number, length: number): void {
    if (length === 0) return;
    this.used -= length;
    this.resting.push({ start, length, since: this.now() });
  }

  private wake(): void {
    if (this.resting.length === 0) return;
    const until = this.now() - graceNs;
    let woken = 0;
    while (woken < this.resting.length && this.resting[woken]!.since <= until) {
      this.insert(this.resting[woken]!.start, this.resting[woken]!.length);
      woken++;
    }
    if (woken > 0) this.resting.splice(0, woken);
  }

  private insert(start: number, length: number): void {
    let low = 0;
    let high = this.free.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.free[middle]!.start < start) low = middle + 1;
      else high = middle;
    }
    const before = this.free[low - 1];
    const after = this.free[low];
    const joinsAfter = after !== undefined && start + length === after.start;
    if (before !== undefined && before.start + before.length === start) {
      before.length += length + (joinsAfter ? after.length : 0);
      if (joinsAfter) this.free.splice(low, 1);
    } else if (joinsAfter) {
      after.start = start;
      after.length += length;
    } else {
      this.free.splice(low, 0, { start, length });
    }
  }
}
