import type { Timeline } from '../contract.ts';
import type { TimeWindow } from './url.ts';

/** A range of time in milliseconds since 1970. */
export interface TimeRange {
  readonly from: number;
  readonly to: number;
}

/** The shortest range that can be chosen in the strip, in milliseconds. */
const shortest = 60_000;

/** Returns the outline of the area of rates, in a box of one unit for each bucket and `height`. */
export function areaPath(rates: Timeline['forwarded'], height: number): string {
  const top = highest(rates);
  const points = rates.map((rate, index) => {
    const y = height - ((rate ?? 0) / top) * height;
    return `L${index} ${y.toFixed(1)}L${index + 1} ${y.toFixed(1)}`;
  });
  return `M0 ${height}${points.join('')}L${rates.length} ${height}Z`;
}

/**
 * Returns bars from `base` upward. A bucket with any rate has a bar that can be seen, because one drop among
 * a million matters.
 */
export function barsPath(rates: readonly (number | null)[], base: number, height: number): string {
  const top = highest(rates);
  return rates
    .map((rate, index) => {
      if (!rate) return '';
      const size = Math.max(2, (rate / top) * height);
      return `M${index} ${base}v${(-size).toFixed(1)}h1v${size.toFixed(1)}z`;
    })
    .join('');
}

function highest(rates: readonly (number | null)[]): number {
  return rates.reduce<number>((top, rate) => Math.max(top, rate ?? 0), 0) || 1;
}

/** Returns the sum of drops and refusals of each bucket. */
export function troubleOf({ dropped, refused }: Timeline): (number | null)[] {
  return dropped.map((rate, index) => (rate === null ? null : rate + (refused[index] ?? 0)));
}

/** Returns the range that a drag from one time to another chooses, within `whole`. */
export function dragRange(one: number, other: number, whole: TimeRange): TimeRange {
  const from = Math.max(whole.from, Math.min(one, other));
  const to = Math.min(whole.to, Math.max(one, other, from + shortest));
  return { from: Math.round(Math.min(from, to - shortest)), to: Math.round(to) };
}

/** Returns a range that is moved by a time and stays within `whole`. */
export function moveRange({ from, to }: TimeRange, by: number, whole: TimeRange): TimeRange {
  const shift = Math.max(whole.from - from, Math.min(whole.to - to, by));
  return { from: Math.round(from + shift), to: Math.round(to + shift) };
}

/** Returns the window for a range: live if it ends with the present. */
export function windowOfRange(range: TimeRange, whole: TimeRange, before: TimeWindow): TimeWindow {
  const isAtEnd = range.to >= whole.to - 1000;
  return isAtEnd && before.kind !== 'range'
    ? { kind: 'live', minutes: before.minutes }
    : { kind: 'range', ...range };
}

/** Returns a sentence about a timeline, for those who do not see the chart. */
export function timelineSentence(timeline: Timeline): string {
  const rates = timeline.forwarded.filter((rate) => rate !== null);
  const trouble = troubleOf(timeline).filter((rate) => rate !== null && rate > 0).length;
  const minutes = Math.round((trouble * timeline.step) / 60);
  const mean = rates.reduce((sum, rate) => sum + rate, 0) / (rates.length || 1);
  const drops = trouble === 0 ? 'no drops' : `drops in ${minutes} minutes of it`;
  return `24 hours, ${Math.round(mean)} connections a second on average, ${drops}`;
}
