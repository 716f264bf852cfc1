import type { ChangedLink, ChangesAnswer, ClusterEvent, LinkRates } from '@heddle/web/contract';
import { noSums } from '../traffic/links.ts';
import type { LinkRow, Workload } from '../traffic/model.ts';
import { nameOf, partyOf, rate, rowsOf, secondsOf, type View } from './view.ts';

const linksMax = 500;
/** An event within this time before a change may belong to it, in milliseconds. */
const eventMs = 120_000;
/** The share of dropped connections above which a link counts as dropped, and below which it does not. */
const [shareHigh, shareLow] = [0.05, 0.01];

interface Pair {
  readonly from: Workload;
  readonly to: Workload;
  readonly protocol: number;
  readonly port: number;
  readonly rows: LinkRow[];
}

/** Returns the links that differ between two views that have the same filter. */
export function changesOf(a: View, b: View): ChangesAnswer {
  const pairs = new Map<string, Pair>();
  for (const row of rowsOf(a)) {
    const { from, to, protocol, port } = row;
    const key = `${from.id} ${to.id} ${protocol} ${port}`;
    const pair = pairs.get(key) ?? { from, to, protocol, port, rows: [] };
    pair.rows.push(row);
    pairs.set(key, pair);
  }
  const changed: ChangedLink[] = [];
  let asBefore = 0;
  for (const pair of pairs.values()) {
    const [before, after] = [ratesOf(pair, a), ratesOf(pair, b)];
    const change = changeOf(pair, before, after, a, b);
    if (change === undefined) {
      if (total(before) > 0 || total(after) > 0) asBefore++;
      continue;
    }
    const began = beginning(pair, change, b);
    const event = nearestEvent(b.traffic.events.all, pair, began);
    changed.push({
      ...{ change, from: partyOf(pair.from), to: partyOf(pair.to) },
      ...{ protocol: pair.protocol, port: pair.port, a: before, b: after, began },
      ...(event ? { event } : {}),
    });
  }
  const order = ['dropped', 'refused', 'new', 'gone', 'more', 'less'];
  changed.sort(
    (one, other) =>
      order.indexOf(one.change) - order.indexOf(other.change) || total(other.b) - total(one.b),
  );
  return {
    ...{ a: { from: a.from, to: a.to }, b: { from: b.from, to: b.to } },
    ...{
      links: changed.slice(0, linksMax),
      asBefore,
      left: Math.max(0, changed.length - linksMax),
    },
  };
}

function ratesOf({ rows }: Pair, view: View): LinkRates {
  const sums = { forwarded: 0, dropped: 0, refused: 0, audit: 0 };
  for (const row of rows) {
    const values = noSums();
    row.buckets.sum(view.tier, view.from, view.to, values);
    sums[row.verdict] += values.count;
  }
  const seconds = secondsOf(view);
  const { forwarded, dropped, refused } = sums;
  return {
    forwarded: rate(forwarded, seconds),
    dropped: rate(dropped, seconds),
    refused: rate(refused, seconds),
  };
}

function total({ forwarded, dropped, refused }: LinkRates): number {
  return forwarded + dropped + refused;
}

function share(rates: LinkRates, field: 'dropped' | 'refused'): number {
  const sum = total(rates);
  return sum === 0 ? 0 : rates[field] / sum;
}

function changeOf(
  { rows }: Pair,
  before: LinkRates,
  after: LinkRates,
  a: View,
  b: View,
): ChangedLink['change'] | undefined {
  for (const field of ['dropped', 'refused'] as const) {
    if (share(after, field) > shareHigh && share(before, field) < shareLow) return field;
  }
  if (total(before) === 0 && total(after) > 0) {
    const firstSeen = Math.min(...rows.map((row) => row.firstSeen));
    return firstSeen >= a.from && firstSeen < b.to ? 'new' : 'more';
  }
  if (total(after) === 0 && total(before) > 0) {
    const buckets = new Set<number>();
    for (const row of rows) row.buckets.each(a.tier, a.from, a.to, (start) => buckets.add(start));
    return buckets.size >= 3 ? 'gone' : undefined;
  }
  const [one, other] = [total(before), total(after)];
  if (Math.abs(one - other) < 1) return undefined;
  if (other >= one * 2) return 'more';
  return other * 2 <= one ? 'less' : undefined;
}

/** Returns the time at which a change began, as exactly as the buckets show it. */
function beginning({ rows }: Pair, change: ChangedLink['change'], b: View): number {
  const last = Math.max(...rows.map((row) => row.last));
  if (change === 'gone') return last;
  if (change === 'dropped' || change === 'refused') {
    return Math.min(...rows.filter((row) => row.verdict === change).map((row) => row.since));
  }
  return change === 'new' ? Math.min(...rows.map((row) => row.firstSeen)) : b.from;
}

/**
 * Returns the event before a change that is nearest in time and about one of its ends, or about its namespaces if
 * there is none.
 */
export function nearestEvent(
  events: readonly ClusterEvent[],
  { from, to }: { readonly from: Workload; readonly to: Workload },
  began: number,
): { readonly event: ClusterEvent; readonly seconds: number } | undefined {
  const near = events.filter(({ at }) => at <= began && at >= began - eventMs);
  const names = [nameOf(from), nameOf(to)];
  const namespaces = [from.namespace, to.namespace].filter((name) => name !== '');
  const event =
    near.findLast(({ subject }) => names.includes(subject)) ??
    near.findLast(({ subject }) => namespaces.includes(subject.split('/')[0]!));
  return event && { event, seconds: Math.round((began - event.at) / 1000) };
}
