import {
  HealthState,
  type Listen,
  observerHealthName,
  type PeerNode,
  type Place,
  ProblemLog,
  RpcServer,
  responseJson,
  serveMetrics,
  type TlsFiles,
} from '@heddle/hubble';
import { Observer } from '@heddle/hubble/messages';
import type { Access } from './api/access.ts';
import { UiServer } from './api/server.ts';
import { JsonFile, type JsonFileSettings } from './export/json-file.ts';
import { OtlpExport } from './export/otlp.ts';
import type { HistoryFile } from './history/history-file.ts';
import { relayMetrics } from './metrics.ts';
import { relayService } from './observer/service.ts';
import { followPeers } from './peers/follow-peers.ts';
import { PeerPool } from './peers/pool.ts';
import type { PeerTlsFiles, Target } from './peers/transport.ts';
import { responseOf } from './traffic/flow-message.ts';
import { followFlows } from './traffic/follow.ts';
import { Traffic } from './traffic/traffic.ts';

/** The history is written to its file in this interval, in milliseconds. */
const flushMs = 10_000;

/** The settings of a relay. */
export interface RelaySettings {
  /** A Peer service to follow; undefined if `nodes` are all observers. */
  readonly peer?: Target | undefined;
  readonly nodes: readonly PeerNode[];
  readonly peerTls?: PeerTlsFiles | undefined;
  /** The addresses of Hubble's API. */
  readonly listen: readonly Listen[];
  readonly ui?: UiPlace | undefined;
  readonly metricsListen?: { readonly host: string; readonly port: number } | undefined;
  readonly cluster: string;
  readonly version: string;
  readonly historyBytes: number;
  /** A file that keeps the history of links over restarts. */
  readonly historyFile?: { readonly path: string; readonly bytes: number } | undefined;
  readonly exportFile?: Omit<JsonFileSettings, 'log'> | undefined;
  /** The URL of a collector that flows are sent to by OTLP. */
  readonly exportOtlp?: string | undefined;
  readonly log: (message: string) => void;
}

/** The address of the page, and who may read it. */
export interface UiPlace {
  readonly place: Place;
  readonly tls?: TlsFiles | undefined;
  /** Returns who may read; `traffic` names the namespaces. */
  readonly accessOf: (traffic: Traffic) => Access;
  readonly hosts: readonly string[];
}

/** A relay: it follows the observers of a cluster, and serves Hubble's API and the page. Call `close()`. */
export class RunningRelay implements AsyncDisposable {
  readonly pool: PeerPool;
  readonly traffic: Traffic;
  readonly #settings: RelaySettings;
  readonly #stop = new AbortController();
  readonly #health = new HealthState([observerHealthName, Observer.typeName]);
  readonly #rpc: RpcServer;
  readonly #ui: UiServer | undefined;
  readonly #tasks: Promise<void>[] = [];
  #history: HistoryFile | undefined;
  readonly #exports: (JsonFile | OtlpExport)[] = [];
  readonly #problems: ProblemLog;
  #metrics: Disposable | undefined;

  private constructor(settings: RelaySettings) {
    const { version, cluster, log, ui } = settings;
    this.#settings = settings;
    this.#problems = new ProblemLog(settings.log);
    this.pool = new PeerPool({ tls: settings.peerTls });
    this.traffic = new Traffic({ historyBytes: settings.historyBytes });
    const service = relayService(this.pool, { version });
    this.#rpc = new RpcServer({
      services: [Observer],
      routes: (router) => router.service(Observer, service),
      ...{ health: this.#health, onProblem: log },
    });
    const { pool, traffic } = this;
    this.#ui =
      ui &&
      new UiServer({
        pool,
        traffic,
        cluster,
        version,
        log,
        ...ui,
        access: ui.accessOf(traffic),
        page,
      });
  }

  /** Starts a relay. Throws an Error that names the address or the file that cannot be used. */
  static async start(settings: RelaySettings): Promise<RunningRelay> {
    const relay = new RunningRelay(settings);
    try {
      await relay.#start();
      return relay;
    } catch (error) {
      await relay.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#metrics?.[Symbol.dispose]();
    await Promise.all([this.#rpc.close(), this.#ui?.close()]);
    this.pool.close();
    await Promise.all(this.#tasks);
    this.#flush();
    this.#history?.[Symbol.dispose]();
    await Promise.all(this.#exports.map((each) => each.close()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #start(): Promise<void> {
    const { listen, ui, nodes, peer, peerTls, metricsListen, log } = this.#settings;
    for (const each of listen) await this.#rpc.listen(each);
    if (this.#ui && ui) await this.#ui.listen(ui.place);
    if (metricsListen) {
      const { pool, traffic } = this;
      const text = () => relayMetrics(pool, traffic, this.#lostExports(), Date.now());
      this.#metrics = await serveMetrics(metricsListen, text, log);
    }
    await this.#openHistory();
    this.#openExports();
    const { signal } = this.#stop;
    this.pool.set(nodes);
    if (peer) {
      const onPeers = (peers: readonly PeerNode[]) => this.pool.set([...nodes, ...peers]);
      const onProblem = (problem: string) =>
        log(
          problem === ''
            ? 'the peer service answers again'
            : `the peer service does not answer: ${problem}`,
        );
      this.#tasks.push(followPeers(peer, peerTls, onPeers, onProblem, signal));
    }
    this.#tasks.push(followFlows(this.pool, this.traffic, signal), this.#watchNodes(signal));
  }

  async #openHistory(): Promise<void> {
    const { historyFile } = this.#settings;
    if (!historyFile) return;
    const { HistoryFile } = await historyModule(historyFile.path);
    this.#history = new HistoryFile(historyFile.path, historyFile.bytes);
    const oldest = this.#history.load(this.traffic, Date.now());
    if (oldest !== undefined) this.traffic.keptSince = oldest;
    this.traffic.links.onCounted = (counted) => this.#history?.note(counted);
    const timer = setInterval(() => this.#flush(), flushMs);
    this.#stop.signal.addEventListener('abort', () => clearInterval(timer));
  }

  #flush(): void {
    try {
      this.#history?.flush(Date.now());
      this.#problems.report('history', '');
    } catch (error) {
      this.#problems.report('history', error instanceof Error ? error.message : String(error));
    }
  }

  #openExports(): void {
    const { exportFile, exportOtlp: url, cluster, version, log } = this.#settings;
    if (exportFile) {
      const file = new JsonFile({ ...exportFile, log });
      this.#exports.push(file);
      this.traffic.listen((flow) => file.add(responseJson(responseOf(flow))));
    }
    if (url !== undefined) {
      const otlp = new OtlpExport({ ...{ url, cluster, version, log } });
      this.#exports.push(otlp);
      this.traffic.listen((flow) => otlp.add(flow));
    }
  }

  /** Keeps the health, and reports nodes that come and go to the log and as events. */
  async #watchNodes(signal: AbortSignal): Promise<void> {
    const known = new Map<string, string>();
    while (!signal.aborted) {
      const { connections, connected } = this.pool;
      this.#health.set(connections.length === 0 || connected.length > 0);
      for (const { peer, text } of connections) {
        const before = known.get(peer.name);
        if (before === text || text === 'the relay connects') continue;
        known.set(peer.name, text);
        if (text !== '') this.#settings.log(`${peer.name} does not answer: ${text}`);
        else if (before !== undefined) this.#settings.log(`${peer.name} answers again`);
        const sentence =
          text === ''
            ? `The observer on ${peer.name} answers.`
            : `The observer on ${peer.name} does not answer.`;
        this.traffic.events.note(Date.now(), 'node', peer.name, sentence);
      }
      const names = new Set(connections.map(({ peer }) => peer.name));
      for (const name of known.keys()) if (!names.has(name)) known.delete(name);
      await this.pool.changed(signal);
    }
  }

  #lostExports(): number {
    return this.#exports.reduce((sum, { lost }) => sum + lost, 0);
  }
}

/** Builds the page at its first request; the compiler is loaded only then. */
async function page() {
  const { buildPage } = await import('@heddle/web/build');
  return buildPage();
}

/** Loads the module that needs SQLite, which Node.js has from 22.13 on. Throws an Error with the remedy. */
async function historyModule(path: string): Promise<typeof import('./history/history-file.ts')> {
  try {
    return await import('./history/history-file.ts');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_UNKNOWN_BUILTIN_MODULE') throw cause;
    const remedy = 'use Node.js 22.13 or newer, or omit --history-file';
    const text = `open history file ${path}: Node.js ${process.version} has no SQLite (${remedy})`;
    throw new Error(text, { cause });
  }
}
