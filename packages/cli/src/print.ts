import { styleText } from 'node:util';
import { printable, printableLines } from './printable.ts';

export type OutputFormat = 'table' | 'json';

type Style = Parameters<typeof styleText>[0];

/** A cell of a table, or text of a line, with its colour. */
export interface Styled {
  readonly text: string;
  readonly style: Style;
}

export type Cell = string | Styled;

/** Colours `text` when stdout is a terminal, unless NO_COLOR or TERM=dumb is set. */
export function styled(style: Style, text: string): string {
  if (process.env.TERM === 'dumb') return text;
  return styleText(style, text, { stream: process.stdout });
}

/** Prints a line. */
export function printLine(line = ''): void {
  process.stdout.write(`${printableLines(line)}\n`);
}

/** Prints a value as indented JSON. */
export function printJson(value: unknown): void {
  printLine(JSON.stringify(value, null, 2));
}

/**
 * Returns a table whose columns are as wide as their widest cell, with two spaces between them. The
 * last column is not padded.
 */
export function formatTable(header: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const text = (cell: Cell) => printable(typeof cell === 'string' ? cell : cell.text);
  const widths = header.map((title) => title.length);
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i]!, text(cell).length);
    });
  }
  const line = (cells: readonly Cell[]) =>
    cells
      .map((cell, i) => {
        const padding = i === cells.length - 1 ? '' : ' '.repeat(widths[i]! - text(cell).length);
        const shown = typeof cell === 'string' ? text(cell) : styled(cell.style, text(cell));
        return `${shown}${padding}`;
      })
      .join('  ')
      .trimEnd();
  const titles = header.map((title): Cell => ({ text: title, style: 'bold' }));
  return `${[titles, ...rows].map(line).join('\n')}\n`;
}

/** Prints aligned `name  value` lines. */
export function formatFacts(facts: readonly (readonly [string, Cell])[]): string {
  const width = Math.max(...facts.map(([name]) => name.length));
  return facts
    .map(([name, value]) => {
      const shown =
        typeof value === 'string' ? printable(value) : styled(value.style, printable(value.text));
      return `${styled('bold', name.padEnd(width))}  ${shown}\n`;
    })
    .join('');
}

/** Returns a row's state with its colour and, if it failed, the reason. */
export function stateCell(status: string, reason: string | undefined): Cell {
  const style = status === 'done' ? 'green' : status === 'failed' ? 'red' : 'yellow';
  return { style, text: reason === undefined ? status : `${status}: ${reason}` };
}

/** Returns the time since `since` (ISO 8601) in at most two units: `5s`, `3m12s`, `4d`. */
export function age(since: string, nowMs = Date.now()): string {
  const at = Date.parse(since);
  if (!(at > 0)) return '-';
  const seconds = Math.max(0, Math.floor((nowMs - at) / 1000));
  const units: [string, number][] = [
    ['d', 86400],
    ['h', 3600],
    ['m', 60],
    ['s', 1],
  ];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return '0s';
  const [name, size] = units[first]!;
  const whole = Math.floor(seconds / size);
  const next = units[first + 1];
  const rest = next ? Math.floor((seconds % size) / next[1]) : 0;
  return whole < 10 && next && rest > 0 ? `${whole}${name}${rest}${next[0]}` : `${whole}${name}`;
}

/** Returns a number of bytes in MiB as text. */
export function mebibytes(bytes: number): string {
  return `${(bytes / 1048576).toFixed(1)} MiB`;
}
