/** A range of time in milliseconds since 1970. */
export interface TimeRange {
  readonly from: number;
  readonly to: number;
}

/** The two ranges of a comparison. */
export interface Ranges {
  readonly a: TimeRange;
  readonly b: TimeRange;
}

export const minute = 60_000;
const hour = 60 * minute;
const leastLength = minute;

/** Reads FROM..TO with two times as in RFC 3339; undefined for anything else. */
export function parseRange(text: string | undefined): TimeRange | undefined {
  const [from = Number.NaN, to = Number.NaN, ...rest] = (text ?? '').split('..').map(Date.parse);
  return from < to && rest.length === 0 ? { from, to } : undefined;
}

/** Returns FROM..TO in UTC. */
export function formatRange({ from, to }: TimeRange): string {
  return `${new Date(from).toISOString()}..${new Date(to).toISOString()}`;
}

/** Returns the last hour and the hour before. */
export function lastTwoHours(now: number): Ranges {
  const middle = now - hour;
  return { a: { from: middle - hour, to: middle }, b: { from: middle, to: now } };
}

/** Returns the last hour and the same hour of yesterday. */
export function nowAndYesterday(now: number): Ranges {
  const { b } = lastTwoHours(now);
  return { a: { from: b.from - 24 * hour, to: b.to - 24 * hour }, b };
}

/** Returns 15 minutes before and after an instant, without half a minute on both sides of it. */
export function around(instant: number, now: number): Ranges {
  const after = Math.max(instant + minute, Math.min(now, instant + 15.5 * minute));
  return {
    a: { from: instant - 15.5 * minute, to: instant - minute / 2 },
    b: { from: instant + minute / 2, to: after },
  };
}

/** Returns a range that is moved as a whole and stays within the bounds. */
export function moveRange(range: TimeRange, by: number, bounds: TimeRange): TimeRange {
  const shift = Math.max(bounds.from - range.from, Math.min(bounds.to - range.to, by));
  return { from: range.from + shift, to: range.to + shift };
}

/** Returns a range with one end moved; it keeps a minute of length and stays within the bounds. */
export function moveEnd(
  range: TimeRange,
  end: 'from' | 'to',
  to: number,
  bounds: TimeRange,
): TimeRange {
  return end === 'from'
    ? { ...range, from: Math.max(bounds.from, Math.min(to, range.to - leastLength)) }
    : { ...range, to: Math.min(bounds.to, Math.max(to, range.from + leastLength)) };
}
