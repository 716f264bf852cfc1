import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { formatSocketAddress, type SocketAddress } from '@heddle/sys/net';
import type { Place } from '../place.ts';
import type { ClientReport } from './report.ts';

export interface BackendPorts {
  readonly http?: readonly number[];
  readonly tcp?: readonly number[];
  /** TCP; what arrives comes back to the byte. */
  readonly echo?: readonly number[];
  readonly udp?: readonly number[];
  /** What it calls itself; default: the name of its place. */
  readonly name?: string;
}

/**
 * Starts a backend (backend-server.ts) and returns once its ports are open. It ends with the lab,
 * or by `kill()`. Throws an Error when it can't serve.
 */
export async function startBackend(place: Place, ports: BackendPorts): Promise<ChildProcess> {
  const { http = [], tcp = [], echo = [], udp = [], name = place.name } = ports;
  const args = [
    ...['--name', name],
    ...http.flatMap((port) => ['--http', `${port}`]),
    ...tcp.flatMap((port) => ['--tcp', `${port}`]),
    ...echo.flatMap((port) => ['--echo', `${port}`]),
    ...udp.flatMap((port) => ['--udp', `${port}`]),
  ];
  const child = spawnProgram(place, 'backend-server.ts', args, 'ignore');
  const ready = await Promise.race([
    once(child.stdout!, 'data').then(() => true),
    once(child, 'exit').then(() => false),
  ]);
  if (!ready) throw new Error(`start backend in ${place.name}: it ended (see stderr)`);
  return child;
}

export interface HttpClientOptions {
  /** Addresses by name of the target, each `10.0.0.1:80` or `[fd00::1]:80`. */
  readonly targets: Readonly<Record<string, readonly string[]>>;
  /** To each target; without it the client runs until `stop`. */
  readonly requests?: number;
  /** Rounds per second; without it as many as it can. */
  readonly rate?: number;
  readonly reportMs?: number;
  readonly timeoutMs?: number;
  readonly onReport?: (report: ClientReport) => void;
}

/** A running load generator. */
export interface HttpClient {
  readonly process: ChildProcess;
  /** Settles once each target was asked; rejects as `total` does. */
  readonly started: Promise<void>;
  /** The last report, once it has ended; rejects when it ends without one. */
  readonly total: Promise<ClientReport>;
  setTarget(name: string, addresses: readonly string[]): void;
  stop(): Promise<ClientReport>;
}

/** Starts a load generator (http-client.ts). It ends with the lab, or with this process. */
export function startHttpClient(place: Place, options: HttpClientOptions): HttpClient {
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
  const child = spawnProgram(place, 'http-client.ts', args, 'pipe');
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
    throw new Error(`run HTTP client in ${place.name}: ended by ${signal ?? `exit code ${code}`}`);
  });
  const started = Promise.race([first, ended.then(() => {})]);
  // Whoever never asks for these shall not be brought down by their absence.
  for (const promise of [ended, started]) promise.catch(() => {});
  // A command to a client that has just ended is of no consequence.
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
  /** Where the connections are asked for; of the family of the addresses that are made up. */
  readonly to: SocketAddress;
  /** Packets to send. */
  readonly count: number;
}

/**
 * Has a place send so many TCP SYNs as fast as it can, each from another address and port that
 * nobody has (syn-flood.ts). Returns once they are on their way; rejects when it can't.
 */
export async function floodWithSyns(place: Place, { to, count }: FloodOptions): Promise<void> {
  const { src, dst } = place.firstHop;
  const args = [`${place.link('eth0').index}`, src, dst, formatSocketAddress(to), `${count}`];
  const child = spawnProgram(place, 'syn-flood.ts', args, 'ignore');
  const [code, signal] = await once(child, 'close');
  if (code !== 0) throw new Error(`flood from ${place.name}: ended by ${signal ?? `code ${code}`}`);
}

function spawnProgram(
  place: Place,
  program: string,
  args: readonly string[],
  stdin: 'ignore' | 'pipe',
): ChildProcess {
  const path = fileURLToPath(new URL(program, import.meta.url));
  return place.spawn(process.execPath, [path, ...args], { stdio: [stdin, 'pipe', 'inherit'] });
}
