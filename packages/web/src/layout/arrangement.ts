import { arrangeColumns, type ColumnCard } from './columns.ts';
import { sortByLevel, trophicLevels, type WeightedLink } from './levels.ts';

/** A card for an arrangement. */
export interface ArrangedCard extends ColumnCard {
  /** The ids of its rows. */
  readonly rows: readonly string[];
}

/**
 * The order of cards and rows, which stays while the page is open. An entry whose card or row is gone stays,
 * as a hole.
 */
export interface Arrangement {
  readonly columns: readonly (readonly ArrangedEntry[])[];
  /** The ids of the rows of each card. */
  readonly rows: Readonly<Record<string, readonly string[]>>;
}

/** A card of a column. */
export interface ArrangedEntry {
  readonly name: string;
  /** The height in pixels that the card had when it was placed. */
  readonly height: number;
  /** True for a card that was added after the column was placed. */
  readonly isAdded?: boolean;
}

/** The links of a map: between cards, and between rows of the same card. */
export interface ArrangedLinks {
  readonly cards: readonly WeightedLink[];
  readonly rows: readonly WeightedLink[];
}

/** Returns a new arrangement of all cards, as for the first visit and for the button Tidy. */
export function arrange(
  cards: readonly ArrangedCard[],
  links: ArrangedLinks,
  columnCount: number,
): Arrangement {
  const heights = new Map(cards.map(({ name, height }) => [name, height]));
  const columns = arrangeColumns(cards, links.cards, columnCount).map((names) =>
    names.map((name) => ({ name, height: heights.get(name)! })),
  );
  const rows = cards.map(({ name, rows }) => [name, sortRows(rows, links.rows)] as const);
  return { columns, rows: Object.fromEntries(rows) };
}

/**
 * Returns an arrangement in which everything stays where it is: a new card is at the end of the column whose
 * level is nearest to its own, and a new row at the end of its card.
 */
export function extend(
  arrangement: Arrangement,
  cards: readonly ArrangedCard[],
  links: ArrangedLinks,
): Arrangement {
  const columns = arrangement.columns.map((column): ArrangedEntry[] => [...column]);
  const known = new Set(columns.flat().map(({ name }) => name));
  const added = cards.filter(({ name }) => !known.has(name));
  const hasNewRows = cards.some(({ name, rows }) => {
    const old = new Set(arrangement.rows[name]);
    return rows.some((row) => !old.has(row));
  });
  if (added.length === 0 && !hasNewRows) return arrangement;
  const names = cards.map(({ name }) => name);
  const levels = trophicLevels(names, links.cards);
  for (const { name, height, edge } of added) {
    const column =
      edge === 'first'
        ? 0
        : edge === 'last'
          ? columns.length - 1
          : nearestColumn(arrangement, levels, levels.get(name) ?? 0);
    columns[column]!.push({ name, height, isAdded: true });
  }
  const rows = { ...arrangement.rows };
  for (const card of cards) {
    const old = rows[card.name] ?? [];
    const present = new Set(old);
    const fresh = card.rows.filter((row) => !present.has(row));
    if (fresh.length > 0) rows[card.name] = [...old, ...sortRows(fresh, links.rows)];
  }
  return { columns, rows };
}

/** Returns an arrangement without the holes, as for the next visit. */
export function closeHoles(arrangement: Arrangement, cards: readonly ArrangedCard[]): Arrangement {
  const rowsOf = new Map(cards.map(({ name, rows }) => [name, new Set(rows)]));
  const heights = new Map(cards.map(({ name, height }) => [name, height]));
  return {
    columns: arrangement.columns.map((column) =>
      column.flatMap(({ name }) =>
        heights.has(name) ? [{ name, height: heights.get(name)! }] : [],
      ),
    ),
    rows: Object.fromEntries(
      Object.entries(arrangement.rows)
        .filter(([name]) => rowsOf.has(name))
        .map(([name, rows]) => [name, rows.filter((row) => rowsOf.get(name)!.has(row))]),
    ),
  };
}

function nearestColumn(
  { columns }: Arrangement,
  levels: ReadonlyMap<string, number>,
  level: number,
): number {
  const distances = columns.map((column) => {
    const known = column.flatMap(({ name }) => levels.get(name) ?? []);
    if (known.length === 0) return Number.POSITIVE_INFINITY;
    return Math.abs(known.reduce((sum, each) => sum + each, 0) / known.length - level);
  });
  return Math.max(0, distances.indexOf(Math.min(...distances)));
}

function sortRows(rows: readonly string[], links: readonly WeightedLink[]): string[] {
  const own = new Set(rows);
  const inner = links.filter(({ from, to }) => own.has(from) && own.has(to));
  return sortByLevel(rows, trophicLevels(rows, inner));
}

/** Reads an arrangement that was kept as JSON; undefined if it is none or has another number of columns. */
export function parseArrangement(
  text: string | null,
  columnCount: number,
): Arrangement | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text ?? '');
  } catch {
    return undefined;
  }
  return isArrangement(value) && value.columns.length === columnCount ? value : undefined;
}

function isArrangement(value: unknown): value is Arrangement {
  const { columns, rows } = (value ?? {}) as Partial<Arrangement>;
  const isText = (item: unknown) => typeof item === 'string';
  const isEntry = (item: Partial<{ name: string; height: number }> | null) =>
    isText(item?.name) && Number.isFinite(item?.height);
  if (!Array.isArray(columns) || typeof rows !== 'object' || rows === null) return false;
  return (
    columns.every((column) => Array.isArray(column) && column.every(isEntry)) &&
    Object.values(rows).every((list) => Array.isArray(list) && list.every(isText))
  );
}
