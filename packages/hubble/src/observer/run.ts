import { networkInterfaces } from 'node:os';
import type { AgentStatus } from '@heddle/agent';
import { ControlClient } from '@heddle/control';
import { exitCodes, Failure } from '@heddle/control/failure';
import { type Bpf, LinuxBpf } from '@heddle/ebpf';
import { nodePlatform } from '@heddle/sys/node';
import type { FlowRecord } from '../flows/record.ts';
import { LostEventSource } from '../generated/flow/flow_pb.js';
import { Denials } from '../generated/heddle/denials_pb.js';
import { Observer } from '../generated/observer/observer_pb.js';
import { Peer } from '../generated/peer/peer_pb.js';
import { FlowMetrics } from '../metrics/metrics.ts';
import { ProblemLog } from '../problem-log.ts';
import { HealthState, observerHealthName } from '../server/health.ts';
import { serveMetrics } from '../server/metrics-server.ts';
import { type Listen, RpcServer } from '../server/server.ts';
import { AgentNames } from '../sources/agent-names.ts';
import { NameFeed, readInterfaces } from '../sources/name-feed.ts';
import { passRecords } from '../sources/records.ts';
import { ConnectionSweep } from '../sources/sweep.ts';
import { NodeTables } from '../sources/tables.ts';
import { AgentFeeds } from './agent-feeds.ts';
import { denialService } from './denials.ts';
import { FlowObserver } from './observer.ts';
import { PeerList, type PeerSettings, peerName, peersOf, serverName } from './peers.ts';

/** The settings of an observer. */
export interface ObserverSettings {
  /** The agent's control socket. */
  readonly socket: string;
  /** The BPF file system with the pins. */
  readonly bpffs: string;
  /** The addresses on which the API is served. */
  readonly listen: readonly Listen[];
  /** The address for relays, HOST:PORT; empty if there is none. */
  readonly address: string;
  /** The name of the cluster; `default` is not part of a node's name. */
  readonly cluster: string;
  readonly version: string;
  /** Hubble's settings of metrics, and the address on which they are served. */
  readonly metrics: readonly string[];
  readonly metricsListen?: { readonly host: string; readonly port: number } | undefined;
  readonly log: (message: string) => void;
}

const sweepMs = 1000;
/** A sweep reports this many changes at most, which takes some 160 ms; it reports the others as lost. */
const changesPerSweep = 200_000;
const namesMs = 5000;
const replacedMs = 10_000;

/**
 * An observer of a node: it sweeps the conntrack table, follows dropped packets by the agent's control
 * socket, and serves Hubble's API. Without an agent it goes on with the names that it knows, and reports what
 * is missing to the log once. It changes nothing on the node.
 */
export class RunningObserver implements AsyncDisposable {
  readonly #settings: ObserverSettings;
  readonly #names: AgentNames;
  readonly #nameFeed = new NameFeed();
  readonly #observer: FlowObserver;
  readonly #health = new HealthState([observerHealthName, Observer.typeName]);
  readonly #metrics: FlowMetrics;
  readonly #peers = new PeerList();
  readonly #peerSettings: PeerSettings;
  readonly #nodeName: string;
  readonly #bpf: Bpf = new LinuxBpf(nodePlatform());
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #problems: ProblemLog;
  readonly #server: RpcServer;
  readonly #feeds: AgentFeeds;
  #metricsServer: Disposable | undefined;
  #tables: NodeTables | undefined;
  #sweep: ConnectionSweep | undefined;
  #isClosed = false;

  private constructor(settings: ObserverSettings, nodeName: string) {
    this.#settings = settings;
    this.#problems = new ProblemLog(settings.log);
    this.#names = new AgentNames(settings.cluster, nodeName);
    this.#metrics = new FlowMetrics(settings.metrics);
    const { address, cluster, listen } = settings;
    const hasTls = listen.some((each) => 'host' in each && each.tls !== undefined);
    this.#peerSettings = { address, cluster, hasTls };
    this.#nodeName = nodeName;
    const names = this.#names;
    this.#observer = new FlowObserver({
      node: {
        name: peerName(nodeName, cluster),
        get labels() {
          return names.nodeLabels;
        },
        interfaceName: (index) => names.interfaceName(index),
      },
      ...{ version: settings.version, address },
      tlsServerName: hasTls ? serverName(nodeName, cluster) : undefined,
    });
    this.#feeds = new AgentFeeds(settings.socket, names, {
      add: (record) => this.#add(record),
      lose: (count) => this.#lose(count),
      report: (what, problem) => this.#problems.report(what, problem),
    });
    this.#health.set(false);
    this.#server = new RpcServer({
      services: [Observer, Peer, Denials],
      routes: (router) => {
        router.service(Observer, this.#observer.service());
        router.service(Peer, this.#peers.service());
        router.service(
          Denials,
          denialService((denial) => this.#feeds.nearest(denial)),
        );
      },
      health: this.#health,
      onProblem: settings.log,
    });
  }

  /** Starts an observer. Throws Failure if no agent answers, or if an address or a file of TLS cannot be used. */
  static async start(settings: ObserverSettings): Promise<RunningObserver> {
    using agent = await ControlClient.connect(settings.socket);
    const { node } = (await agent.request('status')) as AgentStatus;
    const observer = new RunningObserver(settings, node);
    try {
      await observer.#readNames(agent);
      // Connections that are there already may be old; those after this sweep are new.
      observer.#sweepOnce();
      await observer.#serve();
    } catch (error) {
      await observer.close();
      throw error;
    }
    observer.#repeat(sweepMs, async () => observer.#sweepOnce());
    observer.#repeat(namesMs, () => observer.#refreshNames());
    observer.#repeat(replacedMs, async () => observer.#closeReplaced());
    observer.#feeds.start();
    return observer;
  }

  /** Returns the metrics in Prometheus' text format. */
  metricsText(): string {
    return this.#metrics.text();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#feeds[Symbol.dispose]();
    this.#metricsServer?.[Symbol.dispose]();
    await this.#server.close();
    this.#closeTables();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #add(record: FlowRecord): void {
    this.#observer.add(record);
    this.#metrics.add(record);
  }

  #lose(count: number): void {
    const now = Date.now();
    const source = LostEventSource.OBSERVER_EVENTS_QUEUE;
    const loss = { source, count, first: now, last: now };
    this.#observer.lose(loss);
    this.#metrics.lose(loss);
  }

  #sweepOnce(): void {
    try {
      this.#tables ??= new NodeTables(this.#bpf, this.#settings.bpffs);
    } catch (error) {
      this.#health.set(false);
      this.#problems.report(
        'tables',
        `the tables of the datapath cannot be read: ${messageOf(error)}`,
      );
      return;
    }
    const tables = this.#tables;
    this.#sweep ??= new ConnectionSweep(tables.entries);
    const now = Date.now();
    const { facts, highWater } = tables;
    const add = (record: FlowRecord) => this.#add(record);
    const snatAddress = tables.snatAddresses();
    const left = this.#sweep.sweep(
      { flows: tables.memory, facts, highWater },
      Math.floor(now / 1000),
      changesPerSweep,
      (change) => {
        const source = snatAddress(change.snatIndex);
        passRecords(change, this.#names, now, source, this.#feeds.verdicts, add);
      },
    );
    if (left > 0) this.#lose(left);
    this.#health.set(true);
    this.#problems.report('tables', '');
  }

  #closeReplaced(): void {
    if (this.#tables?.isReplaced()) this.#closeTables();
  }

  #closeTables(): void {
    this.#tables?.[Symbol.dispose]();
    this.#tables = undefined;
    this.#sweep = undefined;
  }

  async #refreshNames(): Promise<void> {
    try {
      using agent = await ControlClient.connect(this.#settings.socket);
      await this.#readNames(agent);
      this.#problems.report('names', '');
    } catch (error) {
      this.#problems.report('names', `names stay as they are: ${messageOf(error)}`);
    }
  }

  /** Reads what has changed since the last call. Throws Failure. */
  async #readNames(agent: ControlClient): Promise<void> {
    const interfaces = await readInterfaces(agent);
    const own = Object.values(networkInterfaces()).flatMap((addresses) =>
      (addresses ?? []).map(({ address }) => address),
    );
    this.#names.setNode(own, interfaces);
    const changes = await this.#nameFeed.read(agent);
    // An agent that has just started has not read the objects yet.
    if (!changes) return;
    this.#names.apply(changes);
    if (this.#peerSettings.address === '') return;
    this.#peers.set(peersOf(this.#nodeName, [...this.#names.nodes], this.#peerSettings));
  }

  async #serve(): Promise<void> {
    try {
      for (const listen of this.#settings.listen) await this.#server.listen(listen);
      const { metricsListen, log } = this.#settings;
      if (metricsListen) {
        this.#metricsServer = await serveMetrics(metricsListen, () => this.metricsText(), log);
      }
    } catch (cause) {
      throw new Failure(exitCodes.failed, messageOf(cause), { cause });
    }
  }

  /** Runs a task again and again, each time `interval` milliseconds after it has ended. */
  #repeat(interval: number, task: () => Promise<void>): void {
    const again = () => {
      if (this.#isClosed) return;
      const timer = setTimeout(async () => {
        this.#timers.delete(timer);
        await task().catch((error: unknown) => this.#problems.report('task', messageOf(error)));
        again();
      }, interval);
      this.#timers.add(timer);
    };
    again();
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
