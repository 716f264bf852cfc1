import type { NodeEntry } from '@heddle/agent';
import type { ControlSource } from '@heddle/control';
import { exitCodes, Failure } from '@heddle/control/failure';
import { openControl } from '@heddle/inspect/open';
import {
  age,
  type Cell,
  formatFacts,
  formatTable,
  printJson,
  printLine,
  stateCell,
} from '../print.ts';
import type { ReadOptions } from '../read-options.ts';

/** `heddle node list`: prints a line for each other node, with the path to its pods. */
export async function nodeList({ output, ...source }: ReadOptions): Promise<void> {
  using client = await openControl(source);
  const nodes = await entries(client);
  if (output === 'json') printJson({ nodes });
  else if (nodes.length === 0)
    printLine('no other nodes (the agent follows them with `network: true`)');
  else {
    process.stdout.write(
      formatTable(
        ['NODE', 'ADDRESSES', 'RANGES', 'PATH', 'AGE', 'STATUS'],
        nodes.map((entry) => line(entry, client.nowMs)),
      ),
    );
  }
}

function line(entry: NodeEntry, nowMs: number): Cell[] {
  return [
    entry.name,
    entry.addresses.join(', ') || '-',
    entry.ranges.join(', ') || '-',
    entry.mode,
    age(entry.since, nowMs),
    stateCell(entry.status, undefined),
  ];
}

/** `heddle node get`: prints everything about one other node, with the reasons for the paths to its pods. */
export async function nodeGet(which: string, { output, ...source }: ReadOptions): Promise<void> {
  using client = await openControl(source);
  const nodes = (await entries(client)).filter(
    ({ name, addresses }) => name === which || addresses.includes(which),
  );
  if (nodes.length === 0) {
    throw new Failure(
      exitCodes.failed,
      `find node ${which}: this node knows no other node of that name (heddle node list shows those it knows)`,
    );
  }
  if (output === 'json') {
    printJson({ nodes });
    return;
  }
  nodes.forEach((node, i) => {
    if (i > 0) printLine();
    process.stdout.write(formatFacts(factsOf(node, client.nowMs)));
  });
}

async function entries(client: ControlSource): Promise<NodeEntry[]> {
  const nodes: NodeEntry[] = [];
  for await (const entry of client.items<NodeEntry>('node.list', {})) nodes.push(entry);
  return nodes;
}

function factsOf(node: NodeEntry, nowMs: number): [string, Cell][] {
  const { name, addresses, ranges, paths, problems, status, reason, since } = node;
  const facts: [string, Cell][] = [['node', name]];
  for (const address of addresses) facts.push(['address', address]);
  for (const range of ranges) facts.push(['pods', range]);
  for (const { family, mode, via, reason: why } of paths) {
    const how = mode === 'direct' ? 'direct' : 'through a tunnel';
    const to = via === undefined ? '' : ` ${mode === 'direct' ? 'by' : 'to'} ${via}`;
    facts.push([`${family} path`, `${how}${to}: ${why}`]);
  }
  for (const text of problems) facts.push(['problem', { text, style: 'red' }]);
  facts.push(['status', stateCell(status, reason)], ['since', `${since} (${age(since, nowMs)})`]);
  return facts;
}
