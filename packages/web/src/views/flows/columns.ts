import { verdictWords } from '../../page/words.ts';
import { formatBytes, formatCount, formatMilliseconds, formatPort } from '../../parts/format.ts';
import { type FlowRow, flagText, ruleText } from './rows.ts';

/** A column of the table of flows. */
export interface Column {
  readonly id: string;
  readonly title: string;
  /** The width as a track of CSS grid, until the reader drags it. */
  readonly track: string;
  readonly text: (row: FlowRow) => string;
}

/** All columns, in their order. */
export const columns: readonly Column[] = [
  { id: 'time', title: 'Time', track: '98px', text: ({ time }) => formatMilliseconds(time) },
  {
    id: 'verdict',
    title: 'Verdict',
    track: '96px',
    text: ({ verdict }) => verdictWords[verdict],
  },
  { id: 'from', title: 'From', track: 'minmax(0, 1.3fr)', text: ({ from }) => from.name },
  { id: 'to', title: 'To', track: 'minmax(0, 1.2fr)', text: ({ to }) => to.name },
  {
    id: 'port',
    title: 'Port',
    track: '84px',
    text: ({ protocol, to }) => formatPort(protocol, to.port),
  },
  { id: 'summary', title: 'Summary', track: 'minmax(0, 1fr)', text: ({ summary }) => summary },
  {
    id: 'rule',
    title: 'Policy and rule',
    track: 'minmax(0, 1.1fr)',
    text: ({ rule, verdict }) => ruleText(rule, verdict),
  },
  { id: 'node', title: 'Node', track: '72px', text: ({ node }) => node },
  {
    id: 'from-address',
    title: 'From address',
    track: '150px',
    text: ({ from }) => `${from.address}:${from.port}`,
  },
  {
    id: 'to-address',
    title: 'To address',
    track: '150px',
    text: ({ to }) => `${to.address}:${to.port}`,
  },
  { id: 'bytes', title: 'Bytes', track: '72px', text: ({ bytes }) => formatBytes(bytes) },
  { id: 'packets', title: 'Packets', track: '64px', text: ({ packets }) => formatCount(packets) },
  { id: 'direction', title: 'Direction', track: '72px', text: ({ direction }) => direction },
  { id: 'service', title: 'Service', track: 'minmax(0, 1fr)', text: ({ service }) => service },
  { id: 'flags', title: 'Flags', track: '84px', text: ({ flags }) => flagText(flags) },
  { id: 'id', title: 'Id', track: '110px', text: ({ id }) => id },
];

/** The columns that are shown until the reader chooses. */
export const defaultColumns = ['time', 'verdict', 'from', 'to', 'port', 'summary', 'rule', 'node'];

/** A column that is shown, with its width in pixels if the reader has dragged it. */
export interface ShownColumn extends Column {
  readonly width?: number;
}

/** Reads the key `cols`: names with widths, `time:120,verdict`. Unknown names are passed over. */
export function shownColumns(text: string | undefined): ShownColumn[] {
  const parts = text ? text.split(',') : defaultColumns;
  const wanted = new Map(
    parts.map((part) => {
      const [id = '', width = ''] = part.split(':');
      return [id, width];
    }),
  );
  const shown = columns
    .filter(({ id }) => wanted.has(id))
    .map((column): ShownColumn => {
      const width = Number(wanted.get(column.id));
      return width >= 24 && width <= 2000 ? { ...column, width } : column;
    });
  return shown.length > 0 ? shown : shownColumns(undefined);
}

/** Returns the key `cols` for columns; undefined for the default. */
export function columnsKey(shown: readonly ShownColumn[]): string | undefined {
  const text = shown.map(({ id, width }) => (width ? `${id}:${width}` : id)).join(',');
  return text === defaultColumns.join(',') ? undefined : text;
}

/** Returns the tracks of CSS grid for columns. */
export function gridTracks(shown: readonly ShownColumn[]): string {
  return shown.map(({ width, track }) => (width ? `${width}px` : track)).join(' ');
}
