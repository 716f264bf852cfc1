import { sortByLevel, trophicLevels, type WeightedLink } from './levels.ts';

/** A card for the columns. */
export interface ColumnCard {
  readonly name: string;
  readonly height: number;
  /** Clients outside of the cluster are in the first column, servers outside in the last. */
  readonly edge?: 'first' | 'last';
}

/** The free space between cards that the order in the columns reckons with, in pixels. */
const spacing = 12;
const sweeps = 8;

/**
 * Returns the names of the cards in columns of about equal height: callers left of what they call, and in each
 * column so that links cross little. The same cards and links always give the same columns.
 */
export function arrangeColumns(
  cards: readonly ColumnCard[],
  links: readonly WeightedLink[],
  count: number,
): string[][] {
  const columns = fillColumns(cards, links, count);
  sortByBarycentre(columns, cards, links);
  return columns;
}

function fillColumns(
  cards: readonly ColumnCard[],
  links: readonly WeightedLink[],
  count: number,
): string[][] {
  const heights = new Map(cards.map(({ name, height }) => [name, height]));
  const height = (names: readonly string[]) =>
    names.reduce((sum, name) => sum + heights.get(name)!, 0);
  const at = (edge: ColumnCard['edge']) =>
    cards.filter((card) => card.edge === edge).map(({ name }) => name);
  const names = cards.map(({ name }) => name);
  const inner = sortByLevel(at(undefined), trophicLevels(names, links));
  const first = at('first').sort();
  const last = at('last').sort();
  const share = height(names) / count;
  const columns = Array.from({ length: count }, (): string[] => []);
  columns[0]!.push(...first);
  let column = 0;
  let filled = height(first);
  for (const name of inner) {
    if (column < count - 1 && filled + height([name]) / 2 > share) {
      column++;
      filled = column === count - 1 ? height(last) : 0;
    }
    columns[column]!.push(name);
    filled += height([name]);
  }
  columns[count - 1]!.push(...last);
  return columns;
}

/** Sorts each column by the mean height of the neighbours in other columns, left to right and back. */
function sortByBarycentre(
  columns: string[][],
  cards: readonly ColumnCard[],
  links: readonly WeightedLink[],
): void {
  const cardOf = new Map(cards.map((card) => [card.name, card]));
  const columnOf = new Map(
    columns.flatMap((names, column) => names.map((name) => [name, column] as const)),
  );
  const neighbours = new Map(cards.map(({ name }) => [name, [] as [string, number][]]));
  for (const { from, to, weight } of links) {
    if (columnOf.get(from) === columnOf.get(to)) continue;
    neighbours.get(from)?.push([to, weight]);
    neighbours.get(to)?.push([from, weight]);
  }
  const middles = new Map<string, number>();
  const measure = (names: readonly string[]) => {
    const total = names.reduce((sum, name) => sum + cardOf.get(name)!.height + spacing, 0);
    let y = -total / 2;
    for (const name of names) {
      const { height } = cardOf.get(name)!;
      middles.set(name, y + height / 2);
      y += height + spacing;
    }
  };
  const barycentre = (name: string) => {
    let sum = 0;
    let weights = 0;
    for (const [neighbour, weight] of neighbours.get(name)!) {
      sum += (middles.get(neighbour) ?? 0) * weight;
      weights += weight;
    }
    return weights > 0 ? sum / weights : middles.get(name)!;
  };
  const isEdge = (name: string) => Number(cardOf.get(name)!.edge !== undefined);
  columns.forEach(measure);
  for (let sweep = 0; sweep < sweeps; sweep++) {
    for (const names of sweep % 2 === 0 ? columns : columns.toReversed()) {
      const keys = new Map(names.map((name) => [name, barycentre(name)]));
      names.sort(
        (one, other) =>
          isEdge(other) - isEdge(one) ||
          keys.get(one)! - keys.get(other)! ||
          (one < other ? -1 : 1),
      );
      measure(names);
    }
  }
}
