import type { DropKind, Explanation } from '../../contract.ts';
import {
  formatParty,
  formatPort,
  formatSeconds,
  formatSpan,
  formatTime,
} from '../../parts/format.ts';
import { dropGroups, groupOf, policyName, ruleWords } from './sentences.ts';

export const groupings = ['reason', 'policy', 'victim'] as const;
export type Grouping = (typeof groupings)[number];

/** Drops under one title. */
export interface KindGroup {
  readonly title: string;
  readonly packets: number;
  readonly kinds: readonly DropKind[];
}

/** Reads the key `by`; by reason without one. */
export function readGrouping(by: string | undefined): Grouping {
  return groupings.find((known) => known === by) ?? 'reason';
}

/**
 * Returns the kinds of drops in groups. In a group, kinds that happen now come first, then by number; groups
 * are in the order of their first kinds, but those of reasons in the order of the templates.
 */
export function groupKinds(kinds: readonly DropKind[], by: Grouping): KindGroup[] {
  const groups = new Map<string, DropKind[]>();
  for (const kind of [...kinds].sort(compareKinds)) {
    const title = titleOf(kind, by);
    groups.set(title, [...(groups.get(title) ?? []), kind]);
  }
  const found = [...groups].map(([title, members]) => ({
    title,
    packets: members.reduce((sum, { packets }) => sum + packets, 0),
    kinds: members,
  }));
  if (by !== 'reason') return found;
  const order: readonly string[] = dropGroups;
  return found.sort((one, other) => order.indexOf(one.title) - order.indexOf(other.title));
}

function compareKinds(one: DropKind, other: DropKind): number {
  return (
    Number(other.now > 0) - Number(one.now > 0) ||
    other.packets - one.packets ||
    (one.id < other.id ? -1 : 1)
  );
}

function titleOf(kind: DropKind, by: Grouping): string {
  if (by === 'reason') return groupOf(kind);
  if (by === 'victim') return formatParty(kind.from);
  const policies = kind.rules.map(({ policy }) => policyName(policy));
  return policies.length > 0 ? [...new Set(policies)].join(', ') : 'No policy';
}

/** Returns the line about the rule and the time: `payments/ledger-ingress, ingress rule 2 · since 13:02`. */
export function detailOf(kind: DropKind, now: number): string {
  const [rule] = kind.rules;
  const cause = rule
    ? `${policyName(rule.policy)}, ${ruleWords(rule)}`
    : kind.service
      ? `Service ${kind.service}`
      : 'no rule involved';
  const time =
    kind.now > 0
      ? `since ${formatTime(kind.since, now)}`
      : now - kind.last < 10 * 60_000
        ? `last ${formatSpan(now - kind.last)} ago`
        : `last ${formatTime(kind.last, now)}`;
  return `${cause} · ${time}`;
}

/** Returns when the present run of a kind began, and the event before it, which need not be its cause. */
export function beganText({ since, change }: Explanation, now: number): string {
  const day = /^.*, /.exec(formatTime(since, now))?.[0] ?? '';
  const event = change
    ? `, ${formatSpan(change.seconds * 1000)} after: ${change.event.text}`
    : '; no event near it';
  return `${day}${formatSeconds(since)}${event}`;
}

/** Returns the server of a kind with its port. */
export function serverOf({ to, port, protocol }: DropKind): string {
  if (port === 0) return `${formatParty(to)}, ${formatPort(protocol, port)}`;
  return `${formatParty(to)}:${port}`;
}

/** Returns the bars of 24 hours in a box of 84 by 26. */
export function hourBars(hours: readonly number[]): string {
  const top = Math.max(...hours, 1);
  return hours
    .map((count, index) => {
      if (count === 0) return '';
      const height = Math.max(2, (count / top) * 21);
      return `M${(index * 3.5).toFixed(1)} 23v${(-height).toFixed(1)}h2.5v${height.toFixed(1)}z`;
    })
    .join('');
}
