import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { ApiServer, type ApiServerOptions } from './api-server.ts';
import { makeNode, makeService, makeSlice } from './cluster-objects.ts';

// The test API server as a process, so that its CPU time and memory do not count in measurements, or in
// another network namespace. It reads commands as JSON lines from stdin, writes results to stdout, and ends
// with stdin.

const remoteMethods = [
  'set',
  'remove',
  'objects',
  'compact',
  'skipVersions',
  'script',
  'clearScript',
  'setTokens',
  'setTls',
  'endWatches',
  'cutConnections',
  'sendBookmarks',
  'watching',
  'takeRequests',
  'stop',
  'resume',
] as const;
type Method = (typeof remoteMethods)[number];

interface Command {
  readonly method: Method | 'fill' | 'setAll';
  readonly args: readonly unknown[];
}

export interface FillOptions {
  readonly services: number;
  /** The number for each service. The default is 2. */
  readonly endpoints?: number;
  /** Names of Node objects. */
  readonly nodes?: readonly string[];
}

/** Adds realistic objects to a server: services 0 to `services` - 1, and nodes. */
export function fill(server: ApiServer, { services, endpoints, nodes = [] }: FillOptions): void {
  for (let i = 0; i < services; i++) {
    server.set(makeService(i));
    server.set(makeSlice(i, endpoints === undefined ? {} : { endpoints }));
  }
  for (const [i, name] of nodes.entries()) server.set(makeNode(name, i + 1));
}

type Remote = {
  readonly [M in Method]: (
    ...args: Parameters<ApiServer[M]>
  ) => Promise<Awaited<ReturnType<ApiServer[M]>>>;
};

/** An ApiServer in another process, with the same methods, which return promises. */
export interface ApiServerProcess extends Remote, AsyncDisposable {
  readonly url: string;
  readonly process: ChildProcess;
  fill(options: FillOptions): Promise<void>;
  /** Several `set`s in one message. Returns the last version. */
  setAll(objects: readonly Parameters<ApiServer['set']>[0][]): Promise<number>;
}

type Spawn = (command: string, args: readonly string[], options: SpawnOptions) => ChildProcess;

/** Starts a server process, with `place.spawn` on a node of a lab. */
export async function startApiServerProcess(
  options: ApiServerOptions = {},
  spawnIt: Spawn = (command, args, more) => spawn(command, args, more),
): Promise<ApiServerProcess> {
  const child = spawnIt(
    process.execPath,
    [fileURLToPath(import.meta.url), JSON.stringify(options)],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const waiting: { resolve: (value: never) => void; reject: (error: Error) => void }[] = [];
  const lines = createInterface({ input: child.stdout! });
  const started = new Promise<string>((resolve, reject) => waiting.push({ resolve, reject }));
  lines.on('line', (line) => {
    const answer = JSON.parse(line) as { result?: unknown; error?: string };
    const { resolve, reject } = waiting.shift()!;
    if (answer.error === undefined) resolve(answer.result as never);
    else reject(new Error(answer.error));
  });
  child.on('close', () => {
    for (const { reject } of waiting) reject(new Error('call API server: its process has ended'));
  });
  const call = (method: string, ...args: unknown[]) =>
    new Promise((resolve, reject) => {
      waiting.push({ resolve, reject });
      child.stdin!.write(`${JSON.stringify({ method, args })}\n`);
    });
  const remote = Object.fromEntries(
    [...remoteMethods, 'fill', 'setAll'].map((method) => [
      method,
      (...args: unknown[]) => call(method, ...args),
    ]),
  );
  return Object.assign(remote as unknown as ApiServerProcess, {
    url: await started,
    process: child,
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const closed = once(child, 'close');
      child.stdin!.end();
      await closed;
    },
  });
}

async function serve(): Promise<void> {
  const server = await ApiServer.start(JSON.parse(process.argv[2] ?? '{}'));
  const say = (answer: unknown) => process.stdout.write(`${JSON.stringify(answer)}\n`);
  say({ result: server.url });
  for await (const line of createInterface({ input: process.stdin })) {
    const { method, args } = JSON.parse(line) as Command;
    try {
      say({ result: (await run(server, method, args)) ?? null });
    } catch (error) {
      say({ error: (error as Error).message });
    }
  }
  await server.stop();
}

function run(server: ApiServer, method: Command['method'], args: readonly unknown[]): unknown {
  if (method === 'fill') return fill(server, args[0] as FillOptions);
  if (method === 'setAll') {
    return (args[0] as Parameters<ApiServer['set']>[0][])
      .map((object) => server.set(object))
      .at(-1);
  }
  if (!remoteMethods.includes(method)) throw new Error(`call API server: it has no ${method}`);
  return (server[method] as (...args: unknown[]) => unknown).apply(server, [...args]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await serve();
