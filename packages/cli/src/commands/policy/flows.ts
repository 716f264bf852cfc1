import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import type { AgentStatus } from '@heddle/agent';
import { exitCodes, Failure } from '@heddle/control/failure';
import { openControl } from '@heddle/inspect/open';
import type { Flow } from '@heddle/policy-tools';
import type { ClusterOptions } from './cluster.ts';

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

/** Returns the options of the objects: those of the dump with the connections, if no other source is given. */
export function withDump<Options extends ClusterOptions>(
  options: Options,
  source: string | undefined,
): Options {
  const { objects, fromDump } = options;
  if (source === undefined || source === 'live' || isJson(source)) return options;
  return objects === undefined && fromDump === undefined
    ? { ...options, fromDump: source }
    : options;
}

const causes: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EISDIR: 'it is a folder (give a dump, or a file that heddle flow list -o json has printed)',
};

function isJson(path: string): boolean {
  const first = Buffer.alloc(1);
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    readSync(fd, first, 0, 1, 0);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const cause = causes[code ?? ''] ?? message;
    throw new Failure(exitCodes.failed, `read flows ${path}: ${cause}`);
  } finally {
    if (fd !== undefined) closeSync(fd);
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
