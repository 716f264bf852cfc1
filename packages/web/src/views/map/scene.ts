import type { ArrangedCard, ArrangedLinks } from '../../layout/arrangement.ts';
import { linkWeight } from '../../layout/levels.ts';
import { closedHeight, openHeight } from '../../layout/place.ts';
import type { DrawnLink, LinkEnd } from '../../layout/route.ts';
import {
  addRates,
  type Group,
  noRates,
  type Pair,
  pairKey,
  type Rates,
  type Structure,
  type StructureRates,
} from '../../layout/structure.ts';
import type { Change } from './look.ts';

/** A map of more workloads begins with closed namespaces. */
export const mostOpenWorkloads = 150;
/** A card of the outside with more rows begins closed. */
const mostOpenOutside = 8;
/** The links that a map of closed cards draws in full, beside those with trouble. */
export const strongLinks = 60;

/** The keys of the URL that decide which cards are open. */
export interface OpenKeys {
  readonly level?: string | undefined;
  readonly open?: string | undefined;
  readonly closed?: string | undefined;
}

/** Returns true for a map whose namespaces are closed unless the reader opens them. */
export function beginsClosed({ groups }: Structure, { level }: OpenKeys): boolean {
  if (level === 'ns' || level === 'workload') return level === 'ns';
  return groups.reduce((sum, { workloads }) => sum + workloads, 0) > mostOpenWorkloads;
}

const listOf = (text: string | undefined) => (text ?? '').split(',').filter((name) => name !== '');

/** Returns the names of the open cards. */
export function openCards(structure: Structure, keys: OpenKeys): ReadonlySet<string> {
  const isClosed = beginsClosed(structure, keys);
  const opened = new Set(listOf(keys.open));
  const closed = new Set(listOf(keys.closed));
  const isOpen = (group: Group) =>
    canOpen(group) &&
    !closed.has(group.name) &&
    (opened.has(group.name) ||
      (group.isOutside ? group.members.length <= mostOpenOutside : !isClosed));
  return new Set(structure.groups.filter(isOpen).map(({ name }) => name));
}

/** Returns false for a namespace whose workloads the relay summed up; it sends them when asked to. */
function canOpen({ members }: Group): boolean {
  return members.every(({ name }) => name !== '');
}

/** Returns the keys of the URL after a card was opened or closed. */
export function toggleCard(name: string, isOpen: boolean, keys: OpenKeys) {
  const without = (text: string | undefined) => listOf(text).filter((each) => each !== name);
  const open = without(keys.open);
  const closed = without(keys.closed);
  (isOpen ? closed : open).push(name);
  return { open: open.join(',') || undefined, closed: closed.join(',') || undefined };
}

/** Returns the cards for an arrangement with the heights that they have without the reader's choice. */
export function arrangedCards(structure: Structure, keys: OpenKeys): ArrangedCard[] {
  const open = openCards(structure, { level: keys.level });
  return structure.groups.map(({ name, members }) => ({
    name,
    height: open.has(name) ? openHeight(members.length) : closedHeight,
    rows: members.map(({ id }) => id),
    ...(name === 'outside: clients' ? { edge: 'first' as const } : {}),
    ...(name === 'outside: servers' ? { edge: 'last' as const } : {}),
  }));
}

/** Returns the links for an arrangement: summed between cards, and single within one. */
export function arrangedLinks({ pairs }: Structure, rates: StructureRates): ArrangedLinks {
  const between = new Map<string, { from: string; to: string; rate: number }>();
  const rows: ArrangedLinks['rows'][number][] = [];
  for (const { key, from, to } of pairs) {
    const { forwarded, dropped, refused } = rates.pairs.get(key) ?? noRates;
    const rate = forwarded + dropped + refused;
    if (from.group === to.group) {
      rows.push({ from: from.id, to: to.id, weight: linkWeight(rate) });
      continue;
    }
    const name = pairKey(from.group, to.group);
    const sum = between.get(name);
    if (sum) sum.rate += rate;
    else between.set(name, { from: from.group, to: to.group, rate });
  }
  const cards = [...between.values()].map(({ rate, ...ends }) => ({
    ...ends,
    weight: linkWeight(rate),
  }));
  return { cards, rows };
}

/** A link to draw, with the pairs of workloads that it shows. */
export interface SceneLink extends DrawnLink {
  readonly pairs: readonly Pair[];
}

/** Returns the links to draw. Pairs between two closed cards share one, and those within one have none. */
export function sceneLinks({ pairs }: Structure, open: ReadonlySet<string>): SceneLink[] {
  const end = ({ group, id }: Pair['from']): LinkEnd =>
    open.has(group) ? { card: group, row: id } : { card: group };
  const links = new Map<string, DrawnLink & { pairs: Pair[] }>();
  for (const pair of pairs) {
    const from = end(pair.from);
    const to = end(pair.to);
    if (from.card === to.card && from.row === undefined) continue;
    const key = pairKey(from.row ?? from.card, to.row ?? to.card);
    const link = links.get(key);
    if (link) link.pairs.push(pair);
    else links.set(key, { key, from, to, pairs: [pair] });
  }
  return [...links.values()];
}

/** Returns the rates of a drawn link. */
export function sceneRates({ pairs }: SceneLink, rates: StructureRates): Rates {
  return pairs.reduce((sum, { key }) => addRates(sum, rates.pairs.get(key) ?? noRates), noRates);
}

/** Returns the keys of the strongest links, and of all with trouble. */
export function strongKeys(rates: ReadonlyMap<string, Rates>): ReadonlySet<string> {
  const hasTrouble = ({ dropped, refused, audit }: Rates) => dropped + refused + audit > 0;
  const byRate = [...rates].sort(([, one], [, other]) => other.forwarded - one.forwarded);
  return new Set([
    ...byRate.slice(0, strongLinks).map(([key]) => key),
    ...byRate.filter(([, each]) => hasTrouble(each)).map(([key]) => key),
  ]);
}

/** Returns whether a drawn link is one of a workload, seen from it. */
export function relationOf({ pairs }: SceneLink, chosen: string | undefined) {
  if (chosen === undefined) return 'none' as const;
  if (pairs.some(({ from }) => from.id === chosen)) return 'out' as const;
  return pairs.some(({ to }) => to.id === chosen) ? ('in' as const) : ('other' as const);
}

/** Returns the change that a drawn link shows in a comparison: the first of its pairs that changed. */
export function changeOf(
  { pairs }: SceneLink,
  changes: ReadonlyMap<string, Change>,
): Change | 'same' {
  for (const { key } of pairs) {
    const change = changes.get(key);
    if (change) return change;
  }
  return 'same';
}
