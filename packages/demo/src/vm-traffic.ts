import { type ClientReport, Tally } from '@heddle/lab';
import { errno, errnoNames } from '@heddle/sys';
import { AF_INET, AF_INET6, readSocketAddress, SOCK_STREAM } from '@heddle/sys/net';
import { addressOf, type VmHost, type VmPlace, VmSocket } from '@heddle/vm';
import type { Traffic, TrafficOptions } from './engine.ts';
import { backendPort } from './manifests.ts';

const anyAddress = '::';

/** The time for which requests are sent before the event loop continues. */
const batchMs = 10;
/** The interval at which requests of a fixed rate are sent. */
const paceMs = 20;

const request = Uint8Array.from('GET / HTTP/1.0\r\n\r\n', (character) => character.charCodeAt(0));

/** A server in a simulated pod that responds with its name. */
export class VmBackend {
  readonly #listener: VmSocket;
  readonly #answer: Uint8Array;

  constructor(host: VmHost, place: VmPlace, name: string) {
    this.#listener = place.enter(() => new VmSocket(host, AF_INET6, SOCK_STREAM)).retain();
    const bound = this.#listener.bind({ address: addressOf(anyAddress), port: backendPort });
    if (bound < 0) throw new Error(`start backend ${name}: ${errnoNames[-bound]}`);
    this.#listener.listen();
    this.#answer = Uint8Array.from(name, (character) => character.charCodeAt(0));
  }

  /** Responds to all pending connections. */
  serve(): void {
    for (let client = this.#listener.accept(); client; client = this.#listener.accept()) {
      if (typeof client.receive() !== 'number') client.send(this.#answer);
      client.release();
    }
  }

  close(): void {
    this.#listener.release();
  }
}

/** A client in a simulated pod that opens a connection for each request. */
export class VmTraffic implements Traffic {
  readonly total: Promise<ClientReport>;
  readonly #host: VmHost;
  readonly #client: VmPlace;
  readonly #backends: () => Iterable<VmBackend>;
  readonly #targets: Map<string, readonly string[]>;
  readonly #options: TrafficOptions & { readonly onReport: (report: ClientReport) => void };
  readonly #window = new Map<string, Tally>();
  readonly #all = new Map<string, Tally>();
  readonly #started = performance.now();
  #reported = this.#started;
  #rounds = 0;
  #timer: NodeJS.Timeout | undefined;
  #ended = false;

  constructor(
    host: VmHost,
    client: VmPlace,
    backends: () => Iterable<VmBackend>,
    targets: Readonly<Record<string, readonly string[]>>,
    options: TrafficOptions & { readonly onReport: (report: ClientReport) => void },
  ) {
    this.#host = host;
    this.#client = client;
    this.#backends = backends;
    this.#targets = new Map(Object.entries(targets));
    this.#options = options;
    for (const name of this.#targets.keys()) {
      this.#window.set(name, new Tally());
      this.#all.set(name, new Tally());
    }
    this.total = new Promise((resolve, reject) => this.#sendBatch(resolve, reject));
  }

  get hasEnded(): boolean {
    return this.#ended;
  }

  setTarget(name: string, addresses: readonly string[]): void {
    this.#targets.set(name, addresses);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#ended = true;
  }

  #sendBatch(resolve: (report: ClientReport) => void, reject: (error: unknown) => void): void {
    const { requests = Number.POSITIVE_INFINITY, rate } = this.#options;
    const began = performance.now();
    const due = rate === undefined ? requests : ((began - this.#started) / 1000) * rate;
    try {
      while (this.#rounds < Math.min(due, requests) && performance.now() - began < batchMs) {
        this.#round();
      }
    } catch (error) {
      this.stop();
      reject(error);
      return;
    }
    const { reportMs } = this.#options;
    const now = performance.now();
    if (reportMs !== undefined && now - this.#reported >= reportMs) {
      this.#options.onReport(report('window', now - this.#reported, this.#window));
      for (const tally of this.#window.values()) tally.clear();
      this.#reported = now;
    }
    if (this.#rounds < requests) {
      this.#timer = setTimeout(
        () => this.#sendBatch(resolve, reject),
        rate === undefined ? 0 : paceMs,
      );
      return;
    }
    this.#ended = true;
    const total = report('total', now - this.#started, this.#all);
    this.#options.onReport(total);
    resolve(total);
  }

  /** Sends one request to each target. */
  #round(): void {
    for (const [name, addresses] of this.#targets) {
      if (addresses.length === 0) continue;
      const address = addresses[this.#rounds % addresses.length]!;
      const start = performance.now();
      const answer = this.#ask(address);
      const nanoseconds = (performance.now() - start) * 1e6;
      for (const tally of [this.#window.get(name)!, this.#all.get(name)!]) {
        if (typeof answer === 'string') tally.answered(answer, nanoseconds);
        else tally.failed(errnoNames[-answer] ?? 'bad answer');
      }
    }
    this.#rounds++;
  }

  /** Returns the name of the backend that responded, or -errno. */
  #ask(text: string): string | number {
    const { address, port } = readSocketAddress(text);
    const isV4 = !address.includes(':');
    const socket = this.#client.enter(
      () => new VmSocket(this.#host, isV4 ? AF_INET : AF_INET6, SOCK_STREAM),
    );
    socket.retain();
    try {
      const connected = socket.connect({ address: addressOf(address), port });
      if (connected < 0) return connected;
      socket.send(request);
      for (const backend of this.#backends()) backend.serve();
      const answer = socket.receive();
      if (typeof answer === 'number') return answer === 0 ? -errno.EIO : answer;
      return String.fromCharCode(...answer.bytes);
    } finally {
      socket.release();
    }
  }
}

function report(
  type: ClientReport['type'],
  milliseconds: number,
  tallies: ReadonlyMap<string, Tally>,
): ClientReport {
  const targets = Object.fromEntries([...tallies].map(([name, tally]) => [name, tally.report()]));
  return { type, seconds: milliseconds / 1000, targets };
}
