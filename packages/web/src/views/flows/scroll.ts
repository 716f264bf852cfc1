/** Returns the first row that is drawn: some rows above what is seen, and never beyond the last pool of rows. */
export function firstRow(scrollTop: number, rowHeight: number, rows: number, pool: number): number {
  const above = Math.floor(scrollTop / rowHeight) - 4;
  return Math.max(0, Math.min(above, rows - pool));
}

/** A cell of the table. */
export interface Cell {
  readonly row: number;
  readonly column: number;
}

/** Returns the cell that a key moves to, or undefined for a key that does not move. */
export function moveCursor(
  key: string,
  { row, column }: Cell,
  size: { readonly rows: number; readonly columns: number },
  page: number,
): Cell | undefined {
  const moves: Readonly<Record<string, Cell>> = {
    ArrowUp: { row: row - 1, column },
    ArrowDown: { row: row + 1, column },
    ArrowLeft: { row, column: column - 1 },
    ArrowRight: { row, column: column + 1 },
    PageUp: { row: row - page, column },
    PageDown: { row: row + page, column },
    Home: { row: 0, column },
    End: { row: size.rows - 1, column },
  };
  const to = moves[key];
  return (
    to && {
      row: Math.max(0, Math.min(size.rows - 1, to.row)),
      column: Math.max(0, Math.min(size.columns - 1, to.column)),
    }
  );
}
