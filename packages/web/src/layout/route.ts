import { gutter, type PlacedCard, type Placement } from './place.ts';

/** An end of a drawn link: a card, and the row where the card is open. */
export interface LinkEnd {
  readonly card: string;
  readonly row?: string;
}

/** A link to draw; rows of a closed card share its links. */
export interface DrawnLink {
  readonly key: string;
  readonly from: LinkEnd;
  readonly to: LinkEnd;
}

type Point = readonly [number, number];

/** A cubic curve: its start, two control points and its end. */
export type Curve = readonly [Point, Point, Point, Point];

/** The way of a link. */
export interface Route {
  readonly curves: readonly Curve[];
  /** True for a link between two rows of one card, which is drawn over the card. */
  readonly isInner: boolean;
  /** The place of a badge beside the link's end. */
  readonly badge: Point;
}

/** The distance of the arrow's point from the card, in pixels. */
const arrowRoom = 1;
/** The middle of a closed card's comb, below its top. */
const closedMiddle = 25;

/**
 * Returns the way of each link that has both ends. No link runs behind a card: between columns it is a curve,
 * through a column it takes the free space between two cards that is nearest, and in one column it is an arc.
 * The ways follow from the places and the keys alone, so changed rates leave them as they are.
 */
export function routeLinks(
  placement: Placement,
  links: readonly DrawnLink[],
): ReadonlyMap<string, Route> {
  const used = placement.columns.map(({ lanes }) => lanes.map(() => 0));
  const routes = new Map<string, Route>();
  for (const link of [...links].sort((one, other) => (one.key < other.key ? -1 : 1))) {
    const from = placement.cards.get(link.from.card);
    const to = placement.cards.get(link.to.card);
    if (!from || !to || (from === to && !from.isOpen)) continue;
    const start = heightOf(placement, from, link.from);
    const end = heightOf(placement, to, link.to);
    if (start === undefined || end === undefined) continue;
    const route =
      from === to
        ? routeInside(from, start, end)
        : from.column === to.column
          ? routeInColumn(placement, from, to, start, end)
          : routeAcross(placement, from, to, start, end, used);
    routes.set(link.key, route);
  }
  return routes;
}

function heightOf({ rows }: Placement, card: PlacedCard, end: LinkEnd): number | undefined {
  if (!card.isOpen) return card.y + closedMiddle;
  return rows.get(end.row ?? '');
}

function routeInside(card: PlacedCard, start: number, end: number): Route {
  const x = card.x + card.width - gutter + 1;
  const bulge = 1.3 * Math.min(14, 5 + Math.abs(end - start) / 9);
  const curve: Curve = [
    [x, start],
    [x + bulge, start],
    [x + bulge, end],
    [x + arrowRoom, end],
  ];
  return {
    curves: [curve],
    isInner: true,
    badge: [card.x + card.width - gutter / 2, (start + end) / 2],
  };
}

function routeInColumn(
  { columns, width }: Placement,
  from: PlacedCard,
  to: PlacedCard,
  start: number,
  end: number,
): Route {
  const edge = columns[from.column]!.right;
  const room = (columns[from.column + 1]?.left ?? width + 40) - edge;
  const bulge = Math.min(room * 0.7, 16 + Math.abs(end - start) / 10);
  const curve: Curve = [
    [edge, start],
    [edge + bulge, start],
    [edge + bulge, end],
    [edge, end],
  ];
  const curves = [
    ...lineTo([from.x + from.width, start], edge),
    curve,
    ...lineTo([edge, end], to.x + to.width + arrowRoom),
  ];
  return { curves, isInner: false, badge: [edge + bulge * 0.75, (start + end) / 2] };
}

function routeAcross(
  { columns }: Placement,
  from: PlacedCard,
  to: PlacedCard,
  start: number,
  end: number,
  used: readonly number[][],
): Route {
  const step = to.column > from.column ? 1 : -1;
  const isRight = step > 0;
  const near = (column: number) => (isRight ? columns[column]!.left : columns[column]!.right);
  const far = (column: number) => (isRight ? columns[column]!.right : columns[column]!.left);
  const edge = isRight ? from.x + from.width : from.x;
  const curves: Curve[] = [...lineTo([edge, start], far(from.column))];
  let point: Point = [far(from.column), start];
  for (let column = from.column + step; column !== to.column; column += step) {
    const y = takeLane(columns[column]!.lanes, used[column]!, (point[1] + end) / 2);
    curves.push(curveTo(point, [near(column), y]), ...lineTo([near(column), y], far(column)));
    point = [far(column), y];
  }
  const target = isRight ? to.x - arrowRoom : to.x + to.width + arrowRoom;
  const last = isRight ? Math.min(near(to.column), target) : Math.max(near(to.column), target);
  curves.push(curveTo(point, [last, end]), ...lineTo([last, end], target));
  return {
    curves,
    isInner: false,
    badge: [target - step * 20, end + (start > end ? 9 : -9)],
  };
}

/** Returns the height at which the next link crosses a column: in the nearest lane, beside those before it. */
function takeLane(lanes: readonly number[], used: number[], wanted: number): number {
  let best = 0;
  for (const [index, lane] of lanes.entries()) {
    if (Math.abs(lane - wanted) < Math.abs(lanes[best]! - wanted)) best = index;
  }
  const turn = used[best]!;
  used[best]!++;
  return lanes[best]! + (((turn * 5) % 11) - 5) * 0.8;
}

function curveTo([x1, y1]: Point, [x2, y2]: Point): Curve {
  const reach = (x2 - x1) / 2;
  return [
    [x1, y1],
    [x1 + reach, y1],
    [x2 - reach, y2],
    [x2, y2],
  ];
}

/** Returns a level line as a curve, or nothing if it has no length. */
function lineTo([x1, y]: Point, x2: number): Curve[] {
  if (Math.abs(x2 - x1) < 0.5) return [];
  return [
    [
      [x1, y],
      [x1, y],
      [x2, y],
      [x2, y],
    ],
  ];
}

const round = (value: number) => Math.round(value * 10) / 10;
const pointText = ([x, y]: Point) => `${round(x)} ${round(y)}`;

/** Returns curves as the text of an SVG path. */
export function pathText(curves: readonly Curve[]): string {
  const [first] = curves;
  if (!first) return '';
  const parts = curves.map(([, one, two, end]) => `C${[one, two, end].map(pointText).join(' ')}`);
  return `M${pointText(first[0])}${parts.join('')}`;
}

/** Returns the point of a curve at a share of it between 0 and 1. */
export function pointAt([start, one, two, end]: Curve, share: number): Point {
  const rest = 1 - share;
  const at = (axis: 0 | 1) =>
    rest ** 3 * start[axis] +
    3 * rest ** 2 * share * one[axis] +
    3 * rest * share ** 2 * two[axis] +
    share ** 3 * end[axis];
  return [at(0), at(1)];
}
