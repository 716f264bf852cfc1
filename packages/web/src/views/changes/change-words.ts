import type { ChangedLink, ChangesAnswer, LinkRates } from '../../contract.ts';
import { formatParty, formatRate, formatSpan, formatTime } from '../../parts/format.ts';
import { type Change, changeSigns } from '../map/look.ts';
import type { TimeRange } from './ranges.ts';

/** The kinds of changes in the order of the table. */
export const changeOrder: readonly Change[] = ['dropped', 'refused', 'new', 'gone', 'more', 'less'];

/** Returns what the rates of a link come to: connections, or packets where nothing is forwarded. */
export function shownRate({ forwarded, dropped, refused }: LinkRates, change: Change): number {
  if (change === 'dropped') return dropped || forwarded;
  return change === 'refused' ? refused || forwarded : forwarded;
}

/** Returns the words for a change, e.g. `now dropped`, `3.1 times as much`. */
export function changeText({ change, a, b }: ChangedLink): string {
  switch (change) {
    case 'dropped':
    case 'refused':
      return `now ${change}`;
    case 'more':
      return `${(b.forwarded / a.forwarded).toFixed(1)} times as much`;
    case 'less':
      return `${Math.round((b.forwarded / a.forwarded) * 100)} % of before`;
    default:
      return change;
  }
}

/** Returns the words for the event before a change. It says after, and never that the event is the cause. */
export function eventText({ event }: ChangedLink): string {
  if (!event) return 'no event near it';
  const text = event.event.text.replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase());
  return `${formatSpan(event.seconds * 1000)} after ${text}`;
}

/** Returns the number of each kind of change that there is. */
export function countChanges(
  links: readonly ChangedLink[],
): readonly (readonly [Change, number])[] {
  return changeOrder
    .map((change) => [change, links.filter((link) => link.change === change).length] as const)
    .filter(([, count]) => count > 0);
}

/** Returns the links in the order of the table: by kind, then the largest difference first. */
export function sortChanges(links: readonly ChangedLink[]): ChangedLink[] {
  const difference = ({ change, a, b }: ChangedLink) =>
    Math.abs(shownRate(b, change) - shownRate(a, change));
  return [...links].sort(
    (one, other) =>
      changeOrder.indexOf(one.change) - changeOrder.indexOf(other.change) ||
      difference(other) - difference(one),
  );
}

/** Returns a range as clock times; its end is `now` if it ends within a minute and a half. */
export function rangeText({ from, to }: TimeRange, now: number): string {
  return `${formatTime(from, now)} to ${to > now - 90_000 ? 'now' : formatTime(to, now)}`;
}

/** Returns the changes as a table in Markdown, for the log of an incident. */
export function changesAsText(answer: ChangesAnswer, link: string, now: number): string {
  const cell = (text: string) => text.replace(/[|\\]/g, '\\$&').replace(/\s+/g, ' ');
  const rows = sortChanges(answer.links).map((changed) => {
    const { change, from, to, port, a, b, began } = changed;
    const cells = [
      `${changeSigns[change]} ${changeText(changed)}`,
      `${formatParty(from)} → ${formatParty(to)}:${port}`,
      formatRate(shownRate(a, change)),
      formatRate(shownRate(b, change)),
      formatTime(began, now),
      eventText(changed),
    ];
    return `| ${cells.map(cell).join(' | ')} |`;
  });
  return [
    `Links in A, ${rangeText(answer.a, now)}, beside B, ${rangeText(answer.b, now)}: ${link}`,
    '',
    '| Change | Link | A, per second | B, per second | Began | Event nearest in time |',
    '|---|---|---|---|---|---|',
    ...rows,
    '',
    `${answer.asBefore} links are as before.`,
    '',
  ].join('\n');
}
