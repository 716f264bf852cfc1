import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { formatSocketAddress, type SocketAddress } from '@heddle/sys/net';
import type { LabHost } from '../lab-host.ts';
import type { ClientReport } from './report.ts';

export interface BackendPorts {
  readonly http?: readonly number[];
  readonly tcp?: readonly number[];
  /** TCP ports that answer with the received bytes. */
  readonly echo?: readonly number[];
  readonly udp?: readonly number[];
  /** Name in the answers. Default: the name of the host. */
  readonly name?: string;
}

/**
 * Starts a backend (backend-server.ts) and returns once its ports are open. It ends with the lab, or
 * by `kill()`. Throws an Error when it cannot open its ports.
 */
export async function startBackend(host: LabHost, ports: BackendPorts): Promise<ChildProcess> {
  const { http = [], tcp = [], echo = [], udp = [], name = host.name } = ports;
  const args = [
    ...['--name', name],
    ...http.flatMap((port) => ['--http', `${port}`]),
    ...tcp.flatMap((port) => ['--tcp', `${port}`]),
    ...echo.flatMap((port) => ['--echo', `${port}`]),
    ...udp.flatMap((port) => ['--udp', `${port}`]),
  ];
  const child = spawnProgram(host, 'backend-server.ts', args, 'ignore');
  const ready = await Promise.race([
    once(child.stdout!, 'data').then(() => true),
    once(child, 'exit').then(() => false),
  ]);
  if (!ready) throw new Error(`start backend in ${host.name}: it ended (see stderr)`);
  return child;
}

export interface HttpClientOptions {
  /** Addresses by the name of the target, each as `10.0.0.1:80` or `[fd00::1]:80`. */
  readonly targets: Readonly<Record<string, readonly string[]>>;
  /** Number of requests to each target. If absent, the client runs until `stop`. */
  readonly requests?: number;
  /** Rounds per second. If absent, there is no limit. */
  readonly rate?: number;
  readonly reportMs?: number;
  readonly timeoutMs?: number;
  readonly onReport?: (report: ClientReport) => void;
}

/** A running load generator. */
export interface HttpClient {
  readonly process: ChildProcess;
  /** Resolves after one request to each target; rejects as `total` does. */
  readonly started: Promise<void>;
  /** Resolves to the last report when the client has ended; rejects when there is none. */
  readonly total: Promise<ClientReport>;
  setTarget(name: string, addresses: readonly string[]): void;
  stop(): Promise<ClientReport>;
}

/** Starts a load generator (http-client.ts). It ends with the lab, or with this process. */
export function startHttpClient(host: LabHost, options: HttpClientOptions): HttpClient {
  const numbers = {
    '--requests': options.requests,
    '--rate': options.rate,
    '--report-ms': options.reportMs,
    '--timeout-ms': options.timeoutMs,
  };
  const args = Object.entries(options.targets).flatMap(([name, addresses]) => [
    '--target',
    `${name}=${addresses.join()}`,
  ]);
  for (const [option, value] of Object.entries(numbers)) {
    if (value !== undefined) args.push(option, `${value}`);
  }
  const child = spawnProgram(host, 'http-client.ts', args, 'pipe');
  let total: ClientReport | undefined;
  let start: () => void;
  const first = new Promise<void>((resolve) => {
    start = resolve;
  });
  createInterface({ input: child.stdout! }).on('line', (line) => {
    if (line === 'started') {
      start();
      return;
    }
    const report = JSON.parse(line) as ClientReport;
    if (report.type === 'total') total = report;
    options.onReport?.(report);
  });
  // `close` comes after the last output, unlike `exit`.
  const ended = once(child, 'close').then(([code, signal]) => {
    if (total) return total;
    throw new Error(`run HTTP client in ${host.name}: ended by ${signal ?? `exit code ${code}`}`);
  });
  const started = Promise.race([first, ended.then(() => {})]);
  // A caller that uses neither promise must not fail with an unhandled rejection.
  for (const promise of [ended, started]) promise.catch(() => {});
  // A command to a client that has just ended has no effect.
  child.stdin!.on('error', () => {});
  return {
    process: child,
    started,
    total: ended,
    setTarget(name, addresses) {
      child.stdin!.write(`target ${name}=${addresses.join()}\n`);
    },
    stop() {
      child.stdin!.write('stop\n');
      return ended;
    },
  };
}

export interface FloodOptions {
  /** Destination of the SYNs; it determines the family of the source addresses. */
  readonly to: SocketAddress;
  /** Number of packets. */
  readonly count: number;
}

/**
 * Sends TCP SYNs from a host as fast as possible, each from another address and port that no host
 * has (syn-flood.ts). Resolves when all are sent; rejects when that fails.
 */
export async function floodWithSyns(host: LabHost, { to, count }: FloodOptions): Promise<void> {
  const { src, dst } = host.firstHop;
  const args = [`${host.link('eth0').index}`, src, dst, formatSocketAddress(to), `${count}`];
  const child = spawnProgram(host, 'syn-flood.ts', args, 'ignore');
  const [code, signal] = await once(child, 'close');
  if (code !== 0) throw new Error(`flood from ${host.name}: ended by ${signal ?? `code ${code}`}`);
}

function spawnProgram(
  host: LabHost,
  program: string,
  args: readonly string[],
  stdin: 'ignore' | 'pipe',
): ChildProcess {
  const path = fileURLToPath(new URL(program, import.meta.url));
  return host.spawn(process.execPath, [path, ...args], { stdio: [stdin, 'pipe', 'inherit'] });
}
