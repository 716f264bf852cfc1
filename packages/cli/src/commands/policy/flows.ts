import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import type { AgentStatus } from '@heddle/agent';
import { exitCodes, Failure } from '@heddle/control/failure';
import { openControl } from '@heddle/inspect/open';
import type { Flow } from '@heddle/policy-tools';

/** The connections of a node. */
export interface NodeFlows {
  readonly flows: readonly Flow[];
  /** The name of the node; empty if the source does not have it. */
  readonly node: string;
}

/**
 * Reads connections: `live` from the agent at the socket, otherwise from a dump or from the JSON of `heddle flow list`.
 * Throws Failure.
 */
export async function readFlows(source: string, socket: string): Promise<NodeFlows> {
  if (source !== 'live' && isJson(source)) return { flows: jsonFlows(source), node: '' };
  using client = await openControl(source === 'live' ? { socket } : { socket, fromDump: source });
  const flows: Flow[] = [];
  for await (const flow of client.items<Flow>('flow.list')) flows.push(flow);
  const { node } = (await client.request('status')) as AgentStatus;
  return { flows, node };
}

function isJson(path: string): boolean {
  const first = Buffer.alloc(1);
  const fd = openSync(path, 'r');
  try {
    readSync(fd, first, 0, 1, 0);
  } finally {
    closeSync(fd);
  }
  return first.toString() === '{';
}

const texts = ['client', 'frontend', 'backend', 'source', 'protocol'] as const;
const numbers = ['clientPort', 'frontendPort', 'backendPort'] as const;

function jsonFlows(path: string): readonly Flow[] {
  const invalid = (cause: string) =>
    new Failure(
      exitCodes.failed,
      `read flows ${path}: ${cause} (it must be what heddle flow list -o json prints)`,
    );
  let value: { readonly flows?: unknown };
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw invalid((error as Error).message);
  }
  if (!Array.isArray(value.flows)) throw invalid('it has no list "flows"');
  for (const [i, flow] of value.flows.entries()) {
    const bad =
      texts.find((name) => typeof flow?.[name] !== 'string') ??
      numbers.find((name) => typeof flow?.[name] !== 'number');
    if (bad !== undefined) throw invalid(`flows[${i}] has no ${bad}`);
  }
  return value.flows;
}
