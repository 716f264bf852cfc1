import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as wait } from 'node:timers/promises';
import { exitCodes, Failure } from '@heddle/control/failure';
import { printLine } from '../print.ts';

/** The options of `heddle ui`. */
export interface UiOptions {
  /** The address of the page; without one, kubectl forwards a local port to the service. */
  readonly server?: string;
  readonly namespace: string;
  readonly service: string;
  readonly servicePort: number;
  readonly port: number;
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly browser: boolean;
}

/** The relay must answer within this time after kubectl was started, in milliseconds. */
const forwardTimeout = 15_000;
/** A server that accepts the connection must answer within this time, in milliseconds. */
const answerTimeout = 5000;

/**
 * `heddle ui`: opens the web page, and prints its address. With a port that kubectl forwards, it goes on until
 * it is interrupted or kubectl ends.
 *
 * @throws Failure if nothing answers at the address, or kubectl is missing or ends.
 */
export async function ui(options: UiOptions): Promise<void> {
  if (options.server !== undefined) {
    const address = pageAddress(options.server);
    await reach(address);
    show(address, options.browser);
    return;
  }
  const address = new URL(`http://127.0.0.1:${options.port}/`);
  const kubectl = startForward(options);
  const stop = new AbortController();
  try {
    await Promise.race([kubectl.ended, reachSoon(address, stop.signal)]);
    show(address, options.browser);
    await kubectl.ended;
  } finally {
    // Otherwise the process stays until the last try.
    stop.abort();
    kubectl.child.kill();
  }
}

/** Returns the address of the page, whose requests are relative to it. */
export function pageAddress(text: string): URL {
  const address = URL.parse(text.includes('://') ? text : `http://${text}`);
  if (!address || !/^https?:$/.test(address.protocol)) {
    throw new Failure(exitCodes.usage, `open the page: ${text} is no address http://HOST:PORT`);
  }
  if (!address.pathname.endsWith('/')) address.pathname += '/';
  return address;
}

/** Asks the relay for its introduction. A relay that wants a token has answered, too. */
async function reach(address: URL, end?: AbortSignal): Promise<void> {
  let response: Response;
  try {
    const timeout = AbortSignal.timeout(answerTimeout);
    const signal = end ? AbortSignal.any([end, timeout]) : timeout;
    response = await fetch(new URL('api/hello', address), { signal });
  } catch (error) {
    const cause = (error as Error).cause ?? error;
    const text = `open the page: ${address} does not answer: ${(cause as Error).message}`;
    throw new Failure(exitCodes.unreachable, text, { cause: error });
  }
  await response.body?.cancel();
  if (!response.ok && response.status !== 401) {
    const text = `open the page: ${address} answers ${response.status} and is no relay of Heddle`;
    throw new Failure(exitCodes.unreachable, text);
  }
}

async function reachSoon(address: URL, signal: AbortSignal): Promise<void> {
  const end = performance.now() + forwardTimeout;
  for (;;) {
    try {
      return await reach(address, signal);
    } catch (error) {
      if (performance.now() > end || signal.aborted) throw error;
      await wait(200, undefined, { signal });
    }
  }
}

/** Returns the arguments of kubectl that forward the local port. */
export function forwardArguments(options: UiOptions): string[] {
  return [
    ...(options.kubeconfig === undefined ? [] : ['--kubeconfig', options.kubeconfig]),
    ...(options.context === undefined ? [] : ['--context', options.context]),
    ...['--namespace', options.namespace, 'port-forward', '--address', '127.0.0.1'],
    ...[`service/${options.service}`, `${options.port}:${options.servicePort}`],
  ];
}

/** Starts kubectl. `ended` never resolves before kubectl ends, and rejects if it fails. */
function startForward(options: UiOptions): { child: ChildProcess; ended: Promise<void> } {
  const args = forwardArguments(options);
  const child = spawn('kubectl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let output = '';
  child.stderr?.on('data', (data) => {
    output = (output + data).slice(-2000);
  });
  const ended = new Promise<void>((resolve, reject) => {
    child.on('error', (error: NodeJS.ErrnoException) => {
      const remedy = 'install it, or give the address of the page with --server';
      const text = error.code === 'ENOENT' ? 'kubectl is not installed' : error.message;
      reject(new Failure(exitCodes.failed, `open the page: ${text}; ${remedy}`, { cause: error }));
    });
    child.on('close', (code, signal) => {
      if (code === 0 || signal !== null) return resolve();
      const text = `open the page: kubectl ${args.join(' ')}: ${output.trim() || `exit code ${code}`}`;
      reject(new Failure(exitCodes.unreachable, text));
    });
  });
  return { child, ended };
}

/** Prints the address, and opens it in the browser if there is a desktop. */
function show(address: URL, browser: boolean): void {
  printLine(String(address));
  const hasDesktop =
    process.platform === 'darwin' || process.env.DISPLAY || process.env.WAYLAND_DISPLAY;
  if (!browser || !hasDesktop) return;
  const opener = process.platform === 'darwin' ? 'open' : 'xdg-open';
  const child = spawn(opener, [String(address)], { stdio: 'ignore', detached: true });
  // The address is printed: without an opener the reader opens it.
  child.on('error', () => undefined);
  child.unref();
}
