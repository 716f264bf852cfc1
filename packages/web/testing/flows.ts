import type { FlowRows } from '@heddle/web/contract';
import { type InventedLink, type InventedWorkload, nameOf } from './cluster.ts';
import type { InventedKind } from './drops.ts';
import { seededRandom } from './random.ts';

/** The milliseconds of flows in one message. */
export const tickMilliseconds = 250;
/** At most so many flows are shown each second. */
const shownPerSecond = 60;

const columnNames = [
  ...(['time', 'verdict', 'reason', 'from', 'fromPod', 'fromAddress', 'fromPort', 'to'] as const),
  ...(['toPod', 'toAddress', 'port', 'protocol', 'flags', 'reply', 'direction'] as const),
  ...(['summary', 'rule', 'service', 'node', 'bytes', 'packets'] as const),
];
type Row = Readonly<Record<(typeof columnNames)[number], number>>;

/** Writes rows in columns. */
class RowWriter {
  readonly ids: string[] = [];
  readonly names: string[] = [''];
  readonly #indexes = new Map([['', 0]]);
  readonly #rows: Row[] = [];

  name(text: string): number {
    let index = this.#indexes.get(text);
    if (index === undefined) {
      index = this.names.push(text) - 1;
      this.#indexes.set(text, index);
    }
    return index;
  }

  add(row: Row, id: string): void {
    this.#rows.push(row);
    this.ids.push(id);
  }

  columns(): Record<keyof Row, number[]> {
    const entries = columnNames.map((name) => [name, this.#rows.map((row) => row[name])]);
    return Object.fromEntries(entries);
  }
}

/** A link with the share of its rate that counts in one message, and its kind of drops. */
export interface FlowSource {
  readonly link: InventedLink;
  readonly rate: number;
  readonly kind?: InventedKind;
}

/** Returns the flows that arrive in one tick, newest first; the same tick always has the same flows. */
export function flowsOfTick(sources: readonly FlowSource[], tick: number): FlowRows {
  return flowsOfTicks(sources, tick, 1, Number.POSITIVE_INFINITY);
}

/** Returns the flows of a number of ticks up to `tick`, newest first, `limit` at most. */
export function flowsOfTicks(
  sources: readonly FlowSource[],
  tick: number,
  count: number,
  limit: number,
): FlowRows {
  const writer = new RowWriter();
  let matched = 0;
  let at = tick;
  for (; at > tick - count && writer.ids.length < limit; at--) {
    matched += writeTick(writer, sources, at);
  }
  return {
    ...{
      at: (tick + 1) * tickMilliseconds,
      matched,
      shown: writer.ids.length,
      exact: isExact(sources),
    },
    ...{ next: String(at), names: writer.names, ...writer.columns(), id: writer.ids },
  };
}

/** Returns true if all drops have room among the flows that are shown. */
function isExact(sources: readonly FlowSource[]): boolean {
  const drops = sources.filter(({ kind }) => kind).reduce((sum, { rate }) => sum + rate, 0);
  return drops < shownPerSecond;
}

function writeTick(writer: RowWriter, sources: readonly FlowSource[], tick: number): number {
  const random = seededRandom(tick % 2 ** 30);
  const share = tickMilliseconds / 1000;
  const room = Math.round(shownPerSecond * share);
  const counted = sources.map((source) => {
    const mean = source.rate * share;
    return { source, count: Math.floor(mean) + (random() < mean % 1 ? 1 : 0) };
  });
  const matched = counted.reduce((sum, { count }) => sum + count, 0);
  const drops = counted
    .filter(({ source }) => source.kind)
    .flatMap(repeat)
    .slice(0, room);
  const others = counted.filter(({ source }) => !source.kind);
  const total = others.reduce((sum, { count }) => sum + count, 0);
  const chosen = [...drops];
  if (total <= room - drops.length) chosen.push(...others.flatMap(repeat));
  else while (chosen.length < room) chosen.push(pick(others, total * random()));
  const rows = chosen
    .map((source) => ({ source, after: random() }))
    .sort((a, b) => b.after - a.after);
  for (const [index, { source, after }] of rows.entries()) {
    writeRow(writer, source, (tick + after) * tickMilliseconds, `${tick}-${index}`, random);
  }
  return matched;
}

type Counted = { readonly source: FlowSource; readonly count: number };

function repeat({ source, count }: Counted): FlowSource[] {
  return Array.from({ length: Math.min(count, shownPerSecond) }, () => source);
}

function pick(counted: readonly Counted[], place: number): FlowSource {
  let left = place;
  for (const { source, count } of counted) {
    left -= count;
    if (left <= 0) return source;
  }
  return counted.at(-1)!.source;
}

function writeRow(
  writer: RowWriter,
  { link, kind }: FlowSource,
  time: number,
  id: string,
  random: () => number,
): void {
  const [from, to] = [end(link.from, random), end(link.to, random)];
  const isClosed = !kind && random() < 0.5;
  const bytes = isClosed ? link.bytesOut + Math.round(link.bytesIn * random() * 2) : 60;
  const rule =
    kind?.rules[0] ?? (link.allowedBy && { policy: link.allowedBy, direction: 'ingress', rule: 1 });
  const ruleText = rule
    ? `${rule.policy.kind} ${[rule.policy.namespace, rule.policy.name].filter(Boolean).join('/')} ${rule.direction}/${rule.rule}`
    : '';
  writer.add(
    {
      ...{ time: Math.floor(time), verdict: kind ? 2 : 1, reason: kind?.reason ?? 0 },
      ...{ from: writer.name(nameOf(link.from)), fromPod: writer.name(from.pod) },
      ...{ fromAddress: writer.name(from.address), fromPort: 32768 + Math.floor(random() * 28000) },
      ...{ to: writer.name(nameOf(link.to)), toPod: writer.name(to.pod) },
      ...{ toAddress: writer.name(to.address), port: link.port, protocol: link.protocol },
      ...{ flags: link.protocol !== 6 ? 0 : isClosed ? 0x11 : 0x02, reply: 0 },
      direction: kind?.direction === 'egress' ? 2 : 1,
      summary: writer.name(summary(link, kind, isClosed)),
      ...{ rule: writer.name(ruleText), service: writer.name(serviceOf(link.to)) },
      ...{
        node: writer.name(link.to.pods[0]?.node ?? link.from.pods[0]?.node ?? ''),
        bytes,
        packets: isClosed ? 12 : 1,
      },
    },
    id,
  );
}

function summary(link: InventedLink, kind: InventedKind | undefined, isClosed: boolean): string {
  if (link.protocol === 17) return `A ${link.from.name}.example`;
  if (kind) return 'SYN';
  return isClosed ? 'closed' : 'new connection';
}

function serviceOf({ namespace, name }: InventedWorkload): string {
  return namespace === '' ? '' : `${namespace}/${name}`;
}

function end({ pods, addresses }: InventedWorkload, random: () => number) {
  const pod = pods[Math.floor(random() * pods.length)];
  if (pod) return { pod: pod.name, address: pod.address, node: pod.node };
  return { pod: '', address: addresses[Math.floor(random() * addresses.length)] ?? '', node: '' };
}
