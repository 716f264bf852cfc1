import { linkWeight, sortByLevel, trophicLevels } from '../../layout/levels.ts';
import {
  addRates,
  noRates,
  pairKey,
  type Rates,
  type Structure,
  type StructureRates,
} from '../../layout/structure.ts';
import { groupTitle, memberName } from './words.ts';

/** A row of the matrix, and the column with the same index. */
export interface MatrixAxis {
  /** The id of a workload, or the name of a closed namespace. */
  readonly id: string;
  readonly group: string;
  /** The short name beside the matrix, and the whole name for sentences. */
  readonly label: string;
  readonly title: string;
  readonly isOpen: boolean;
}

/**
 * Returns the rows of a matrix: namespaces in the order of their levels, so that most calls are above the
 * diagonal, with their workloads where they are open.
 */
export function matrixAxis(
  { groups, pairs, members }: Structure,
  rates: StructureRates,
  open: ReadonlySet<string>,
): MatrixAxis[] {
  const weight = (key: string) => linkWeight(rates.pairs.get(key)?.forwarded ?? 0);
  const between = pairs.map(({ key, from, to }) => ({
    ...{ from: from.group, to: to.group, weight: weight(key) },
  }));
  const names = groups.map(({ name }) => name);
  const inner = pairs.map(({ key, from, to }) => ({
    ...{ from: from.id, to: to.id, weight: weight(key) },
  }));
  return sortByLevel(names, trophicLevels(names, between)).flatMap((name): MatrixAxis[] => {
    const title = groupTitle(name);
    if (!open.has(name)) return [{ id: name, group: name, label: title, title, isOpen: false }];
    const ids = groups.find((group) => group.name === name)!.members.map(({ id }) => id);
    const own = new Set(ids);
    const links = inner.filter(({ from, to }) => own.has(from) && own.has(to));
    return sortByLevel(ids, trophicLevels(ids, links)).map((id) => {
      const member = members.get(id)!;
      const { name: label } = member;
      return { id, group: name, label, title: memberName(member), isOpen: true };
    });
  });
}

/** Returns the rates of the cells that have a link, by row times the number of rows plus column. */
export function matrixCells(
  axis: readonly MatrixAxis[],
  { pairs }: Structure,
  rates: StructureRates,
): ReadonlyMap<number, Rates> {
  const indexOf = new Map(axis.map(({ id }, index) => [id, index]));
  const cells = new Map<number, Rates>();
  for (const { from, to } of pairs) {
    const row = indexOf.get(from.id) ?? indexOf.get(from.group);
    const column = indexOf.get(to.id) ?? indexOf.get(to.group);
    if (row === undefined || column === undefined) continue;
    const cell = row * axis.length + column;
    const own = rates.pairs.get(pairKey(from.id, to.id)) ?? noRates;
    cells.set(cell, addRates(cells.get(cell) ?? noRates, own));
  }
  return cells;
}

/** The sizes of a matrix in pixels: of a cell, and of the names beside and above the cells. */
export interface MatrixSizes {
  readonly cell: number;
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** Returns the row and column at a point; -1 where the point is among the names or beside the matrix. */
export function cellAt({ cell, left, top }: MatrixSizes, count: number, x: number, y: number) {
  const index = (offset: number) => {
    const found = Math.floor(offset / cell);
    return found >= 0 && found < count ? found : -1;
  };
  return { row: index(y - top), column: index(x - left) };
}

/** Returns the cell at which the keyboard begins: the first with trouble, or the first with a link. */
export function firstCell(count: number, cells: ReadonlyMap<number, Rates>) {
  const all = [...cells].sort(([one], [other]) => one - other);
  const [index = 0] = all.find(([, { dropped, refused }]) => dropped + refused > 0) ?? all[0] ?? [];
  return { row: Math.floor(index / Math.max(1, count)), column: index % Math.max(1, count) };
}
