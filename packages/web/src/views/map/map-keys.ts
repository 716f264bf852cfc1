import type { PlacedCard, Placement } from '../../layout/place.ts';
import { noRates, type Pair } from '../../layout/structure.ts';
import type { MapModel } from './map-model.svelte.ts';

/** Returns the cards column by column, each from the top. */
export function cardOrder({ cards }: Placement): PlacedCard[] {
  return [...cards.values()].sort(
    (one, other) =>
      one.column - other.column || one.y - other.y || (one.name < other.name ? -1 : 1),
  );
}

/** Returns the item that is some steps after another one, or undefined at the end. */
export function nextItem(
  items: readonly string[],
  item: string,
  steps: number,
): string | undefined {
  return items[items.indexOf(item) + steps];
}

/** Returns the item of the strongest caller of an item, or of what it calls most; undefined without one. */
export function neighbourOf(
  model: Pick<MapModel, 'structure' | 'rates' | 'open'>,
  item: string,
  side: 'callers' | 'called',
): string | undefined {
  const id = item.slice(item.indexOf(':') + 1);
  const [own, other] = side === 'callers' ? (['to', 'from'] as const) : (['from', 'to'] as const);
  const isMine = (pair: Pair) =>
    item.startsWith('row:')
      ? pair[own].id === id
      : pair[own].group === id && pair[other].group !== id;
  const rate = ({ key }: Pair) => {
    const { forwarded, dropped, refused } = model.rates.pairs.get(key) ?? noRates;
    return forwarded + dropped + refused;
  };
  let best: Pair | undefined;
  for (const pair of model.structure.pairs) {
    if (isMine(pair) && (!best || rate(pair) > rate(best))) best = pair;
  }
  if (!best) return undefined;
  const end = best[other];
  return model.open.has(end.group) ? `row:${end.id}` : `card:${end.group}`;
}
