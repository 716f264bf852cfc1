import type { AskNearest } from '@heddle/hubble';
import type { PageFiles } from '@heddle/web/build';
import type { InventedCluster } from '@heddle/web/testing/cluster';
import { type Access, openAccess } from '../src/api/access.ts';
import { UiServer } from '../src/api/server.ts';
import { PeerPool } from '../src/peers/pool.ts';
import { followFlows } from '../src/traffic/follow.ts';
import { Traffic } from '../src/traffic/traffic.ts';
import { InventedFlows } from './invented-flows.ts';
import { ObserverFolder, type ServedObserver } from './observers.ts';

/** The settings of a relay with invented traffic. */
export interface InventedRelayOptions {
  readonly seed?: number;
  /** The sum of the rates of all links; the default is that of the cluster. */
  readonly flowsPerSecond?: number;
  /** Observers have flows of this time before the start, in milliseconds. */
  readonly beforeMs?: number;
  /** New flows arrive until the relay is closed; otherwise those before the start are all. */
  readonly isLive?: boolean;
  readonly page?: () => Promise<PageFiles>;
  readonly access?: Access;
  /** Answers questions about the nearest rule on all nodes. */
  readonly nearest?: AskNearest;
  readonly log?: (message: string) => void;
}

const tickMs = 100;

/**
 * A relay over one observer for each node of an invented cluster, all in this process: flows pass through sockets and
 * Hubble's API as in a cluster. Call `close()`.
 */
export class InventedRelay implements AsyncDisposable {
  readonly traffic = new Traffic();
  readonly pool = new PeerPool({ statusMs: 1000, retryMs: [50, 500] });
  readonly observers = new Map<string, ServedObserver>();
  readonly #folder = new ObserverFolder();
  readonly #stop = new AbortController();
  readonly #ui: UiServer;
  #following: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #port = 0;

  private constructor(
    cluster: InventedCluster,
    { page, access = openAccess, log }: InventedRelayOptions,
  ) {
    const { pool, traffic } = this;
    this.#ui = new UiServer({
      pool,
      traffic,
      cluster: cluster.name,
      version: 'heddle test',
      access,
      page,
      ...(log ? { log } : {}),
    });
  }

  /** Starts the observers and the relay, and resolves when the relay has the flows before the start. */
  static async start(
    cluster: InventedCluster,
    options: InventedRelayOptions = {},
  ): Promise<InventedRelay> {
    const relay = new InventedRelay(cluster, options);
    await relay.#start(cluster, options);
    return relay;
  }

  /** The address of the page. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}/`;
  }

  /** Ends the observer of a node, as if the node were gone. */
  async stopNode(name: string): Promise<void> {
    await this.observers.get(name)!.close();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#stop.abort();
    await this.#ui.close();
    this.pool.close();
    await this.#following;
    await this.#folder.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #start(cluster: InventedCluster, options: InventedRelayOptions): Promise<void> {
    const { seed = 1, flowsPerSecond, beforeMs = 60_000, isLive = true } = options;
    for (const node of cluster.nodes) {
      this.observers.set(node, await this.#folder.serve(node, 65_536, options.nearest));
    }
    const flows = new InventedFlows(cluster, seed, flowsPerSecond);
    let now = Date.now();
    let count = 0;
    for (let time = now - beforeMs + tickMs; time <= now; time += tickMs)
      count += this.#add(flows, time, tickMs);
    this.pool.set([...this.observers.values()].map(({ peer }) => peer));
    this.#following = followFlows(this.pool, this.traffic, this.#stop.signal);
    while (this.traffic.ring.next < count) await new Promise((resolve) => setTimeout(resolve, 10));
    if (isLive) {
      this.#timer = setInterval(() => {
        const last = now;
        now = Date.now();
        if (now > last) this.#add(flows, now, now - last);
      }, tickMs);
    }
    this.#port = await this.#ui.listen({ host: '127.0.0.1', port: 0 });
  }

  #add(flows: InventedFlows, time: number, milliseconds: number): number {
    const step = flows.step(time, milliseconds);
    for (const { node, record } of step) this.observers.get(node)!.observer.add(record);
    return step.length;
  }
}
