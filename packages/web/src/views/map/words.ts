import type { Member, MemberRates, Rates } from '../../layout/structure.ts';
import { formatNumber, formatRate } from '../../parts/format.ts';

/** Returns what a card of something outside or a namespace is called. */
export function groupTitle(name: string): string {
  return name.replace(/^outside: /, 'outside · ');
}

/** Returns the id of a member without the words for the outside: NAMESPACE/NAME, or the name alone. */
export function memberName({ group, name }: Pick<Member, 'group' | 'name'>): string {
  return group.startsWith('outside: ') ? name : `${group}/${name}`;
}

/** Returns what is read aloud after the name of a row of the map. */
export function memberSentence(
  member: Member,
  rates: MemberRates,
  callers: number,
  called: number,
): string {
  const parts = [
    '',
    member.kind === 'Outside' ? 'outside the cluster' : member.kind,
    ...(member.pods > 0 ? [formatNumber(member.pods, 'pod')] : []),
    `${formatRate(rates.in.forwarded)} connections a second in`,
    ...troubleWords(trouble(rates)).map((words) => `${words} a second`),
    `called by ${callers}`,
    `calls ${called}`,
  ];
  return parts.join(', ');
}

/** Returns what is dropped and refused of a member, as client and as server. */
export function trouble({ in: asked, out }: MemberRates): Rates {
  return {
    forwarded: 0,
    dropped: asked.dropped + out.dropped,
    refused: asked.refused + out.refused,
    audit: asked.audit + out.audit,
  };
}

/** Returns words for each kind of trouble, e.g. `38 dropped`. */
export function troubleWords({ dropped, refused, audit }: Rates): string[] {
  return [
    ...(dropped > 0 ? [`${formatRate(dropped)} dropped`] : []),
    ...(refused > 0 ? [`${formatRate(refused)} refused`] : []),
    ...(audit > 0 ? [`${formatRate(audit)} would be dropped`] : []),
  ];
}

/** Returns the sentence of a link's tooltip. */
export function linkSentence(from: string, to: string, port: string, rates: Rates): string {
  const trouble = troubleWords(rates).map((words) => words.replace(' ', '/s '));
  const counts = [...trouble, `${formatRate(rates.forwarded)}/s forwarded`].join(', ');
  return `${from} → ${to}${port === '' ? '' : `, ${port}`}: ${counts}`;
}
