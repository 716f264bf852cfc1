import type { Arrangement } from './arrangement.ts';

/** Heights of the parts of a card in pixels. */
export const headHeight = 28;
export const rowHeight = 22;
export const closedHeight = 50;
const openPadding = 6;

/** The room at the right edge of a card in which links between its rows run, in pixels. */
export const gutter = 22;

/** Returns the height of an open card in pixels. */
export function openHeight(rows: number): number {
  return headHeight + rows * rowHeight + openPadding;
}

/** The sizes of a map in pixels. */
export interface MapSizes {
  /** The width of all columns together. */
  readonly width: number;
  /** The least height of all cards together. */
  readonly height: number;
  readonly closedWidth: number;
  readonly openWidth: number;
  /** The least free space between two cards of a column; links run in it. */
  readonly spacing: number;
}

/** The largest free space between two cards, in pixels. */
const largestSpacing = 64;

/** A card with its place in pixels. */
export interface PlacedCard {
  readonly name: string;
  readonly column: number;
  readonly isOpen: boolean;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** A column with its bounds and the heights at which links cross it between cards. */
export interface PlacedColumn {
  readonly left: number;
  readonly right: number;
  readonly lanes: readonly number[];
}

/** The places of a map's cards. */
export interface Placement {
  readonly cards: ReadonlyMap<string, PlacedCard>;
  readonly columns: readonly PlacedColumn[];
  /** The height of the row's middle by the id of the row, of open cards only. */
  readonly rows: ReadonlyMap<string, number>;
  readonly width: number;
  readonly height: number;
}

/** Returns the number of columns that fit: cards with links of at least `room` pixels between them. */
export function countColumns(width: number, cardWidth: number, room: number, most: number): number {
  return Math.max(2, Math.min(most, Math.floor((width + room) / (cardWidth + room))));
}

/**
 * Places the cards of an arrangement. The free space follows from the cards and heights at the time of
 * arranging, so a card that is opened later moves only the cards below it.
 */
export function place(
  { columns, rows }: Arrangement,
  present: ReadonlySet<string>,
  open: ReadonlySet<string>,
  sizes: MapSizes,
): Placement {
  const { width, closedWidth, openWidth, spacing } = sizes;
  const pitch = columns.length > 1 ? (width - openWidth) / (columns.length - 1) : 0;
  const settled = columns.map((column) => column.filter(({ isAdded }) => !isAdded));
  const tallest = Math.max(0, ...settled.map((column) => leastHeight(column, spacing)));
  const room = Math.max(tallest, sizes.height);
  const cards = new Map<string, PlacedCard>();
  const middles = new Map<string, number>();
  let bottom = room;
  const placed = columns.map((column, index): PlacedColumn => {
    const left = index * pitch;
    const count = settled[index]!.length;
    const total = settled[index]!.reduce((sum, { height }) => sum + height, 0);
    const share = (room - total) / (count + 1);
    const step = Math.min(Math.max(spacing, share), largestSpacing);
    let y = Math.max(0, (room - total - step * Math.max(0, count - 1)) / 2);
    const lanes = [y - spacing / 2];
    const mine: PlacedCard[] = [];
    for (const { name, height: arranged } of column) {
      const isOpen = open.has(name);
      const height = isOpen ? openHeight(rows[name]?.length ?? 0) : closedHeight;
      if (present.has(name)) {
        const cardWidth = isOpen ? openWidth : closedWidth;
        const card = { name, column: index, isOpen, x: left, y, width: cardWidth, height };
        cards.set(name, card);
        mine.push(card);
        if (isOpen) {
          for (const [row, id] of (rows[name] ?? []).entries()) {
            middles.set(id, y + headHeight + (row + 0.5) * rowHeight);
          }
        }
      }
      // A card that is closed leaves its room, so that nothing below it moves up.
      y += Math.max(height, arranged) + step;
      lanes.push(y - step / 2);
    }
    bottom = Math.max(bottom, y - step);
    return {
      left,
      right: Math.max(left + closedWidth, ...mine.map((card) => card.x + card.width)),
      lanes,
    };
  });
  return { cards, columns: placed, rows: middles, width, height: bottom };
}

function leastHeight(column: Arrangement['columns'][number], spacing: number): number {
  return column.reduce((sum, { height }) => sum + height + spacing, -spacing);
}
