import type { RemoteNode } from '@heddle/routes';
import type { RowStatus } from '@heddle/state';
import type { Rows } from '../../rows.ts';
import type { Page } from '../../status.ts';
import type { NodeEntry, NodeMode } from './status.ts';

/** The largest number of nodes in a page. */
const rowsPerPage = 1000;

/** Returns the path to a node in one word. */
export function modeOf({ paths }: Pick<RemoteNode, 'paths'>): NodeMode {
  const [first] = paths;
  if (!first) return 'none';
  return paths.every(({ mode }) => mode === first.mode) ? first.mode : 'mixed';
}

/** Returns the number of nodes by mode. */
export function countModes(rows: Iterable<RemoteNode>): Record<NodeMode, number> {
  const counts = { direct: 0, tunnel: 0, mixed: 0, none: 0 };
  for (const row of rows) counts[modeOf(row)]++;
  return counts;
}

/** Returns a page of the list of nodes: those after a name, in the order of names. */
export function nodePage(
  rows: Pick<Rows<RemoteNode>, 'all' | 'status'>,
  after = '',
): Page<NodeEntry> {
  const left = [...rows.all()]
    .filter(({ key }) => key > after)
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  const shown = left.slice(0, rowsPerPage);
  const items = shown.map((row) => nodeEntry(row, rows.status(row.key)));
  return left.length > shown.length ? { items, next: shown.at(-1)!.key } : { items };
}

/** Returns a node as `node.list` shows it. */
function nodeEntry(row: RemoteNode, status: RowStatus | undefined): NodeEntry {
  const { key: name, addresses, ranges, paths, problems } = row;
  return {
    ...{ name, addresses, ranges, problems, mode: modeOf(row) },
    paths: paths.map(({ family, mode, via, reason }) => ({
      ...{ family, mode, reason },
      ...(via === undefined ? {} : { via }),
    })),
    status: status?.state ?? 'pending',
    ...(status?.reason === undefined ? {} : { reason: status.reason }),
    since: new Date(status?.since ?? 0).toISOString(),
  };
}
