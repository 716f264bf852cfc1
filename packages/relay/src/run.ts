import { createServer, type Server } from 'node:http';
import {
  HealthState,
  type Listen,
  observerHealthName,
  type PeerNode,
  type Place,
  RpcServer,
  type TlsFiles,
} from '@heddle/hubble';
import { Observer } from '@heddle/hubble/messages';
import type { Access } from './api/access.ts';
import { UiServer } from './api/server.ts';
import { relayMetrics } from './metrics.ts';
import { relayService } from './observer/service.ts';
import { followPeers } from './peers/follow-peers.ts';
import { PeerPool } from './peers/pool.ts';
import type { PeerTlsFiles, Target } from './peers/transport.ts';
import { followFlows } from './traffic/follow.ts';
import { Traffic } from './traffic/traffic.ts';

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
  readonly log: (message: string) => void;
}

/** The address of the page, and who may read it. */
export interface UiPlace {
  readonly place: Place;
  readonly tls?: TlsFiles | undefined;
  readonly access: Access;
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
  #metrics: Server | undefined;

  private constructor(settings: RelaySettings) {
    const { version, cluster, log, ui } = settings;
    this.#settings = settings;
    this.pool = new PeerPool({ tls: settings.peerTls });
    this.traffic = new Traffic({ historyBytes: settings.historyBytes });
    const service = relayService(this.pool, { version });
    this.#rpc = new RpcServer({
      services: [Observer],
      routes: (router) => router.service(Observer, service),
      ...{ health: this.#health, onProblem: log },
    });
    const { pool, traffic } = this;
    this.#ui = ui && new UiServer({ pool, traffic, cluster, version, log, ...ui, page });
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
    this.#metrics?.close();
    this.#metrics?.closeAllConnections();
    await Promise.all([this.#rpc.close(), this.#ui?.close()]);
    this.pool.close();
    await Promise.all(this.#tasks);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #start(): Promise<void> {
    const { listen, ui, nodes, peer, peerTls, metricsListen, log } = this.#settings;
    for (const each of listen) await this.#rpc.listen(each);
    if (this.#ui && ui) await this.#ui.listen(ui.place);
    if (metricsListen) await this.#serveMetrics(metricsListen);
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

  #serveMetrics({ host, port }: { readonly host: string; readonly port: number }): Promise<void> {
    const server = createServer((request, response) => {
      const isFound = request.method === 'GET' && request.url === '/metrics';
      response.statusCode = isFound ? 200 : 404;
      response.setHeader('content-type', 'text/plain; version=0.0.4; charset=utf-8');
      response.end(
        isFound ? relayMetrics(this.pool, this.traffic, Date.now()) : 'metrics are at /metrics\n',
      );
    });
    this.#metrics = server;
    return new Promise((resolve, reject) => {
      server.once('error', (cause) => {
        reject(new Error(`serve metrics on ${host}:${port}: ${cause.message}`, { cause }));
      });
      server.listen(port, host, () => resolve());
    });
  }
}

/** Builds the page at its first request; the compiler is loaded only then. */
async function page() {
  const { buildPage } = await import('@heddle/web/build');
  return buildPage();
}
