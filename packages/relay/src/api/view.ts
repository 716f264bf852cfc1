import type { ApiError, Party } from '@heddle/web/contract';
import {
  compileFilter,
  type Filter,
  type FilterEnd,
  type FilterSubject,
  firstError,
  isOfFlows,
  parseFilter,
} from '@heddle/web/filter';
import { type Sums, tierFor, tiers, wholeBuckets } from '../traffic/buckets.ts';
import { LinkTable, noSums } from '../traffic/links.ts';
import type { LinkRow, RelayFlow, Workload } from '../traffic/model.ts';
import { isCounted, type Traffic } from '../traffic/traffic.ts';

/** A request that cannot be answered. */
export class ApiProblem extends Error {
  readonly status: number;
  readonly code: ApiError['error']['code'];
  readonly word: number | undefined;

  /** `text` is a whole sentence for the reader. */
  constructor(status: number, code: ApiError['error']['code'], text: string, word?: number) {
    super(text);
    this.status = status;
    this.code = code;
    this.word = word;
  }
}

/** Returns true for a namespace that the reader may see. */
export type CanSee = (namespace: string) => boolean;

/** The part of the traffic that a request is about: a range of time, a filter, and what its reader may see. */
export interface View {
  readonly traffic: Traffic;
  readonly now: number;
  readonly from: number;
  readonly to: number;
  /** The tier of buckets that the range is read from. */
  readonly tier: number;
  readonly filter: Filter;
  readonly canSee: CanSee;
  /** Returns true for a link or flow that the reader may see and the filter lets through. */
  readonly matches: (subject: FilterSubject) => boolean;
}

const windowMs = 900_000;

/** Reads the parameters that requests have in common. Throws ApiProblem. */
export function viewOf(traffic: Traffic, parameters: URLSearchParams, canSee: CanSee): View {
  const now = Date.now();
  const to = Math.min(timeOf(parameters, 'to') ?? now, now);
  const from = timeOf(parameters, 'from') ?? to - windowMs;
  return view(traffic, filterOf(parameters.get('f') ?? ''), from, to, canSee, now);
}

/** Returns a view of [from, to), in milliseconds since 1970. Throws ApiProblem. */
export function view(
  traffic: Traffic,
  filter: Filter,
  from: number,
  to: number,
  canSee: CanSee,
  now = Date.now(),
): View {
  if (from >= to) {
    throw new ApiProblem(400, 'range', 'The beginning of the range is not before its end.');
  }
  const tier = tierFor(from, now);
  const [first, end] = wholeBuckets(tier, Math.max(from, now - 86_400_000), to);
  const match = compileFilter(filter, now);
  const matches = (subject: FilterSubject) => isVisible(subject, canSee) && match(subject);
  return { traffic, now, from: first, to: end, tier, filter, canSee, matches };
}

/** Returns true if the reader may see both ends. */
export function isVisible({ from, to }: FilterSubject, canSee: CanSee): boolean {
  return (
    (from.namespace === '' || canSee(from.namespace)) &&
    (to.namespace === '' || canSee(to.namespace))
  );
}

/** Reads a filter. Throws ApiProblem that names the word that cannot be used. */
export function filterOf(text: string): Filter {
  const filter = parseFilter(text);
  const index = firstError(filter);
  if (index >= 0) throw new ApiProblem(400, 'filter', filter.words[index]!.error!.text, index);
  return filter;
}

/** Returns a time in milliseconds since 1970, or undefined if there is none. Throws ApiProblem. */
function timeOf(parameters: URLSearchParams, name: string): number | undefined {
  const text = parameters.get(name);
  if (text === null || text === '') return undefined;
  const time = Number(text);
  if (!Number.isFinite(time) || time < 0) {
    throw new ApiProblem(400, 'range', `The parameter ${name} wants milliseconds since 1970.`);
  }
  return time;
}

/** Reads FROM..TO of a request. Throws ApiProblem. */
export function rangeOf(text: string | null, name: string): readonly [number, number] {
  const [from, to, ...rest] = (text ?? '').split('..').map(Number);
  if (rest.length > 0 || !Number.isFinite(from) || !Number.isFinite(to) || from! >= to!) {
    throw new ApiProblem(
      400,
      'range',
      `The parameter ${name} wants FROM..TO in milliseconds since 1970.`,
    );
  }
  return [from!, to!];
}

/** Returns the rows of links that match. Words about single flows make them from the flows that are kept. */
export function rowsOf(view: View): LinkRow[] {
  const { traffic, filter, matches } = view;
  if (!isOfFlows(filter)) {
    return [...traffic.links.rows].filter(({ subject }) => matches(subject));
  }
  const table = new LinkTable(32 * 1024 * 1024);
  for (const flow of flowsOf(view)) if (isCounted(flow)) table.add(flow, flow.time);
  return [...table.rows];
}

/** Returns the flows that are kept and match, newest first. */
export function* flowsOf({ traffic, from, to, matches }: View): Generator<RelayFlow> {
  for (const [, flow] of traffic.ring.before(traffic.ring.next)) {
    if (flow.time >= from && flow.time < to && matches(flow)) yield flow;
  }
}

/** Returns the sums of a row in the view's range. */
export function sumsOf(
  { buckets }: LinkRow,
  { tier, from, to }: View,
  into: Sums = noSums(),
): Sums {
  buckets.sum(tier, from, to, into);
  return into;
}

/** Returns the seconds of the view's range in which something is kept, at least one bucket. */
export function secondsOf({ from, to, now, tier, traffic }: View): number {
  const covered = Math.min(to, now) - Math.max(from, traffic.keptSince);
  return Math.max(covered / 1000, Math.min(tiers[tier]!.seconds, (to - from) / 1000), 1);
}

/** Returns a rate with three digits. */
export function rate(count: number, seconds: number): number {
  return count === 0 ? 0 : Number((count / seconds).toPrecision(3));
}

/** Returns a workload as an end of a link. */
export function partyOf({ namespace, name, kind }: Workload | FilterEnd): Party {
  return { namespace, name, kind };
}

/** Returns NAMESPACE/NAME, or the name alone outside of namespaces. */
export function nameOf({ namespace, name }: { readonly namespace: string; readonly name: string }) {
  return namespace === '' ? name : `${namespace}/${name}`;
}
