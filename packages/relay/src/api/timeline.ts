import type { Timeline } from '@heddle/web/contract';
import { tierFor, tiers } from '../traffic/buckets.ts';
import type { LinkRow } from '../traffic/model.ts';
import { rate, rowsOf, type View } from './view.ts';

/** More steps than this are not made. */
const stepsMax = 1500;

/** Returns the rates of a view in steps of `step` seconds, or of the buckets that are kept if those are wider. */
export function timelineOf(
  view: View,
  step: number,
  rows: readonly LinkRow[] = rowsOf(view),
): Timeline {
  const { from: begin, to, now, traffic } = view;
  const tier = tiers.findIndex(
    ({ seconds, buckets }) =>
      seconds >= Math.min(step, 300) && begin >= now - seconds * buckets * 1000,
  );
  const index = Math.max(tier, tierFor(begin, now));
  const least = Math.ceil((to - begin) / 1000 / stepsMax);
  const width = tiers[index]!.seconds;
  const seconds = Math.max(width, Math.ceil(Math.max(step, least) / width) * width);
  const from = Math.floor(begin / (seconds * 1000)) * seconds * 1000;
  const count = Math.ceil((Math.min(to, now) - from) / 1000 / seconds);
  const sums = {
    forwarded: new Float64Array(count),
    dropped: new Float64Array(count),
    refused: new Float64Array(count),
  };
  for (const { verdict, buckets } of rows) {
    if (verdict === 'audit') continue;
    buckets.each(index, from, to, (start, value) => {
      const at = Math.floor((start - from) / 1000 / seconds);
      if (at < count) sums[verdict][at]! += value;
    });
  }
  const isKept = (at: number) => from + (at + 1) * seconds * 1000 > traffic.keptSince;
  const rates = (values: Float64Array) =>
    Array.from(values, (value, at) => (isKept(at) ? rate(value, covered(at)) : null));
  const covered = (at: number) => {
    const start = Math.max(from + at * seconds * 1000, traffic.keptSince);
    return Math.max(1, (Math.min(from + (at + 1) * seconds * 1000, now) - start) / 1000);
  };
  return {
    ...{ from, step: seconds },
    ...{
      forwarded: rates(sums.forwarded),
      dropped: rates(sums.dropped),
      refused: rates(sums.refused),
    },
    lost: Array.from({ length: count }, (_, at) =>
      traffic.lostIn(from + at * seconds * 1000, from + (at + 1) * seconds * 1000),
    ),
  };
}
