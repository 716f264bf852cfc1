import type { DropKind, DropsAnswer, Explanation, RuleRef } from '@heddle/web/contract';
import { reasonNames } from '@heddle/web/filter';
import { protocolName } from '@heddle/web/protocols';
import { noSums, ruleText } from '../traffic/links.ts';
import type { LinkRow, RelayFlow } from '../traffic/model.ts';
import type { Traffic } from '../traffic/traffic.ts';
import { nearestEvent } from './changes.ts';
import { type NearestSource, nearestOf } from './nearest-rule.ts';
import {
  ApiProblem,
  type CanSee,
  isVisible,
  nameOf,
  partyOf,
  rate,
  rowsOf,
  sumsOf,
  type View,
} from './view.ts';

const kindsMax = 200;
const hourMs = 3_600_000;
/** A kind whose last packet is not older than this happens now, in milliseconds. */
export const nowMs = 60_000;

/** Returns the kinds of drops of a view. */
export function dropsOf(view: View): DropsAnswer {
  const kinds = rowsOf(view)
    .filter(({ verdict, last }) => verdict !== 'forwarded' && last >= view.from)
    .map((row) => dropKind(row, view.now, sumsOf(row, view).count))
    .filter(({ packets }) => packets > 0)
    .sort((a, b) => Number(b.now > 0) - Number(a.now > 0) || b.packets - a.packets);
  const left = kinds.slice(kindsMax);
  return {
    ...{ from: view.from, to: Math.min(view.to, view.now), kinds: kinds.slice(0, kindsMax) },
    left: { kinds: left.length, packets: left.reduce((sum, { packets }) => sum + packets, 0) },
  };
}

/** Returns a row about drops as a kind of drops. */
export function dropKind(row: LinkRow, now: number, packets: number): DropKind {
  const { id, reason, direction, protocol, port, service, since, last, nodes, rules } = row;
  const recent = noSums();
  row.buckets.sum(0, Math.floor((now - nowMs) / 10_000) * 10_000, now + 10_000, recent);
  const hours = new Array<number>(24).fill(0);
  row.buckets.each(2, now - 24 * hourMs, now + hourMs, (start, count) => {
    const hour = 23 - Math.floor((now - start) / hourMs);
    if (hour >= 0 && hour < 24) hours[hour]! += count;
  });
  return {
    ...{ id, reason, name: reasonNames[reason] ?? `${reason}` },
    verdict: row.verdict === 'forwarded' ? 'dropped' : row.verdict,
    ...(direction === undefined ? {} : { direction }),
    ...{ from: partyOf(row.from), to: partyOf(row.to), protocol, port },
    ...(service === '' ? {} : { service }),
    now: last >= now - nowMs ? Math.max(rate(recent.count, nowMs / 1000), 0.001) : 0,
    ...{ packets, exact: false, since, last, hours, nodes: [...nodes].sort(), rules },
  };
}

/** Returns the ids of the kinds of drops that happen now and that the reader may see. */
export function dropsNow(traffic: Traffic, now: number, canSee: CanSee): string[] {
  return [...traffic.dropsSince(now - nowMs)]
    .filter(({ subject }) => isVisible(subject, canSee))
    .map(({ id }) => id);
}

/**
 * Returns an explanation of a kind of drops, with the rule that the observer of its last packet finds nearest. Throws
 * ApiProblem if there is none with this id.
 */
export async function explainDrop(
  view: View,
  id: string,
  observers: NearestSource,
): Promise<Explanation> {
  const { traffic, canSee, now } = view;
  const row = [...traffic.links.rows].find(
    (each) => each.id === id && each.verdict !== 'forwarded' && isVisible(each.subject, canSee),
  );
  if (!row) throw new ApiProblem(404, 'unknown', `There is no kind of drops ${id}.`);
  const day = noSums();
  row.buckets.sum(2, now - 24 * hourMs, now + hourMs, day);
  const change = nearestEvent(traffic.events.all, row, row.since);
  const sample = lastFlow(traffic, row);
  return {
    ...dropKind(row, now, day.count),
    ...{ ...(await nearestOf(observers, row, sample)), facts: factsOf(row) },
    ...(change ? { change } : {}),
    trace: traceOf(row, sample),
  };
}

function factsOf({ from, to, rules, service }: LinkRow): Explanation['facts'] {
  const texts = (relation: RuleRef['relation']) =>
    rules.filter((each) => each.relation === relation).map(ruleText);
  return {
    ...{
      from: nameOf(from),
      to: nameOf(to),
      isolates: texts('isolates'),
      nearest: texts('nearest'),
    },
    ...(service === '' ? {} : { service }),
    ...(to.pods.size === 0 ? {} : { pods: to.pods.size }),
  };
}

function lastFlow({ ring }: Traffic, row: LinkRow): RelayFlow | undefined {
  for (const [, flow] of ring.before(ring.next)) {
    const { from, to, port, verdict, reason } = flow;
    const isOfRow = from.workload === row.from && to.workload === row.to && port === row.port;
    if (isOfRow && verdict === row.verdict && reason === row.reason) return flow;
  }
  return undefined;
}

/** The IP protocols that `heddle trace` has to be given: UDP and SCTP. TCP is its default. */
const tracedProtocols = [17, 132];

/** Returns the arguments of `heddle trace` for a flow of a row; empty as long as no address is known. */
function traceOf(row: LinkRow, flow: RelayFlow | undefined): string {
  if (!flow?.from.address || !flow.to.address) return '';
  const host = flow.to.address.includes(':') ? `[${flow.to.address}]` : flow.to.address;
  return [
    `--from ${flow.from.address}`,
    ...(tracedProtocols.includes(row.protocol) ? [`--protocol ${protocolName(row.protocol)}`] : []),
    `${host}:${row.port}`,
  ].join(' ');
}
