import type { NodeEntry } from '@heddle/agent';
import { openControl } from '@heddle/inspect/open';
import { age, type Cell, formatTable, printJson, printLine, stateCell } from '../print.ts';
import type { ReadOptions } from '../read-options.ts';

/** `heddle node list`: prints a line for each other node, with the path to its pods. */
export async function nodeList({ output, ...source }: ReadOptions): Promise<void> {
  using client = await openControl(source);
  const nodes: NodeEntry[] = [];
  for await (const entry of client.items<NodeEntry>('node.list', {})) nodes.push(entry);
  if (output === 'json') printJson({ nodes });
  else if (nodes.length === 0)
    printLine('no other nodes (the agent follows them with `network: true`)');
  else {
    process.stdout.write(
      formatTable(
        ['NODE', 'ADDRESSES', 'RANGES', 'PATH', 'REASON', 'AGE', 'STATUS'],
        nodes.map((entry) => line(entry, client.nowMs)),
      ),
    );
  }
}

function line(entry: NodeEntry, nowMs: number): Cell[] {
  return [
    entry.name,
    entry.addresses.join(',') || '-',
    entry.ranges.join(',') || '-',
    entry.mode,
    reasonOf(entry) || '-',
    age(entry.since, nowMs),
    stateCell(entry.status, entry.reason),
  ];
}

/** Returns the reasons for the paths; where they differ, with the family that each is about. */
function reasonOf({ paths }: NodeEntry): string {
  const reasons = new Set(paths.map(({ reason }) => reason));
  if (reasons.size <= 1) return [...reasons].join();
  return paths.map(({ family, reason }) => `${family}: ${reason}`).join('; ');
}
