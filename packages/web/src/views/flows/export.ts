import { protocolName } from '../../protocols.ts';
import type { FlowRow } from './rows.ts';
import { flagText } from './rows.ts';

/**
 * Returns a cell of CSV. A text that a spreadsheet would take for a formula gets an apostrophe before it
 * (OWASP, CSV injection).
 */
export function csvCell(value: string | number): string {
  const text =
    typeof value === 'string' && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const csvColumns: readonly (readonly [string, (row: FlowRow) => string | number])[] = [
  ['time', ({ time }) => new Date(time).toISOString()],
  ['verdict', ({ verdict }) => verdict],
  ['reason', ({ reason }) => reason],
  ['from', ({ from }) => from.name],
  ['from_pod', ({ from }) => from.pod],
  ['from_address', ({ from }) => from.address],
  ['from_port', ({ from }) => from.port],
  ['to', ({ to }) => to.name],
  ['to_pod', ({ to }) => to.pod],
  ['to_address', ({ to }) => to.address],
  ['to_port', ({ to }) => to.port],
  ['protocol', ({ protocol }) => protocolName(protocol)],
  ['flags', ({ flags }) => flagText(flags)],
  ['direction', ({ direction }) => direction],
  ['summary', ({ summary }) => summary],
  ['rule', ({ rule }) => rule],
  ['service', ({ service }) => service],
  ['node', ({ node }) => node],
  ['bytes', ({ bytes }) => bytes],
  ['packets', ({ packets }) => packets],
];

/** Returns rows as CSV with a first line of names (RFC 4180). */
export function csvOf(rows: readonly FlowRow[]): string {
  const lines = rows.map((row) => csvColumns.map(([, value]) => csvCell(value(row))).join(','));
  return [csvColumns.map(([name]) => name).join(','), ...lines, ''].join('\r\n');
}
