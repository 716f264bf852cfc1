import type { FlowRows, LinkVerdict } from '../../contract.ts';
import { refusalReasons } from '../../filter/reasons.ts';

/** A row of the table, with its names in place of indexes. */
export interface FlowRow {
  readonly id: string;
  readonly time: number;
  readonly verdict: LinkVerdict;
  readonly reason: number;
  readonly from: FlowEnd;
  readonly to: FlowEnd;
  readonly protocol: number;
  readonly flags: number;
  readonly isReply: boolean;
  readonly direction: '' | 'ingress' | 'egress';
  readonly summary: string;
  /** KIND NAMESPACE/NAME DIRECTION/RULE, or empty. */
  readonly rule: string;
  readonly service: string;
  readonly node: string;
  readonly bytes: number;
  readonly packets: number;
}

export interface FlowEnd {
  /** NAMESPACE/WORKLOAD, or the name of what has no namespace. */
  readonly name: string;
  readonly pod: string;
  readonly address: string;
  readonly port: number;
}

/** The page keeps at most so many rows. */
export const keptRows = 5000;

/** Returns the rows of a message, newest first. */
export function rowsOf(rows: FlowRows): FlowRow[] {
  const name = (indexes: readonly number[], row: number) => rows.names[indexes[row]!] ?? '';
  return rows.id.map((id, row) => ({
    id,
    time: rows.time[row]!,
    verdict: verdictOf(rows.verdict[row]!, rows.reason[row]!),
    reason: rows.reason[row]!,
    from: {
      name: name(rows.from, row),
      pod: name(rows.fromPod, row),
      address: name(rows.fromAddress, row),
      port: rows.fromPort[row]!,
    },
    to: {
      name: name(rows.to, row),
      pod: name(rows.toPod, row),
      address: name(rows.toAddress, row),
      port: rows.port[row]!,
    },
    protocol: rows.protocol[row]!,
    flags: rows.flags[row]!,
    isReply: rows.reply[row] === 1,
    direction: (['', 'ingress', 'egress'] as const)[rows.direction[row]!] ?? '',
    summary: name(rows.summary, row),
    rule: name(rows.rule, row),
    service: name(rows.service, row),
    node: name(rows.node, row),
    bytes: rows.bytes[row]!,
    packets: rows.packets[row]!,
  }));
}

/** Returns the word for Hubble's verdict and drop reason. */
function verdictOf(verdict: number, reason: number): LinkVerdict {
  if (verdict === 2) return refusalReasons.includes(reason) ? 'refused' : 'dropped';
  return verdict === 4 ? 'audit' : 'forwarded';
}

/** Returns newer rows before the others, without those that are there, up to the limit. */
export function withNewer(rows: readonly FlowRow[], newer: readonly FlowRow[]): FlowRow[] {
  const first = new Set(rows.slice(0, 200).map(({ id }) => id));
  return [...newer.filter(({ id }) => !first.has(id)), ...rows].slice(0, keptRows);
}

/** Returns an older page behind the rows, without those that are there. */
export function withOlder(rows: readonly FlowRow[], older: readonly FlowRow[]): FlowRow[] {
  const last = new Set(rows.slice(-1000).map(({ id }) => id));
  return [...rows, ...older.filter(({ id }) => !last.has(id))];
}

/** The name of one end in its parts, for the table. */
export interface EndName {
  readonly namespace: string;
  readonly name: string;
  /** The part of the pod's name behind the workload's, or empty. */
  readonly suffix: string;
}

/** Splits the name of one end; without a workload it is the pod or the address. */
export function endName({ name, pod, address }: FlowEnd): EndName {
  const whole = name || pod || address;
  const slash = name === '' ? -1 : whole.indexOf('/');
  // A range of addresses has a slash, too, and a namespace has no dot or colon.
  const isNamespaced = slash > 0 && !/[.:]/.test(whole.slice(0, slash));
  const workload = isNamespaced ? whole.slice(slash + 1) : whole;
  return {
    namespace: isNamespaced ? whole.slice(0, slash) : '',
    name: workload,
    suffix: pod.startsWith(`${workload}-`) ? pod.slice(workload.length) : '',
  };
}

/** A rule's reference in its parts. */
export interface RuleText {
  readonly kind: string;
  readonly policy: string;
  readonly direction: string;
  readonly number: string;
}

/** Reads a row's rule; undefined if there is none. */
export function ruleOf(rule: string): RuleText | undefined {
  const [, kind, policy, direction, number] =
    /^(\S+) (\S+)(?: (ingress|egress)(?:\/(\d+))?)?$/.exec(rule) ?? [];
  return kind && policy
    ? { kind, policy, direction: direction ?? '', number: number ?? '' }
    : undefined;
}

/** Returns a rule's text for the table: the policy's name and the rule. */
export function ruleText(rule: string, verdict: LinkVerdict): string {
  const found = ruleOf(rule);
  if (!found) return verdict === 'refused' ? 'no endpoint' : '–';
  const { policy, direction, number } = found;
  const name = policy.slice(policy.lastIndexOf('/') + 1);
  if (number === '') return name;
  return `${name}, ${verdict === 'forwarded' ? '' : `${direction} `}rule ${number}`;
}

const flagNames = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR'];

/** Returns the names of TCP flags, e.g. `SYN, ACK`. */
export function flagText(flags: number): string {
  return flagNames.filter((_, bit) => flags & (1 << bit)).join(', ');
}
