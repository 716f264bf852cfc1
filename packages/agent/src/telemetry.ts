import type { ObjectChange } from '@heddle/objects';
import { type HttpHandler, type HttpResponse, HttpServer, textResponse } from '@heddle/rpc';
import type { ServiceModel, ServiceRow } from '@heddle/services';
import type { ReconcilerCounts, RowStatus } from '@heddle/state';
import type { Platform } from '@heddle/sys';
import type { EventLog } from './events.ts';
import { healthHandler, longestWaitMs } from './health.ts';
import type { IntegrityWatch } from './integrity-watch.ts';
import { type AgentMetrics, agentMetrics, type RefusedRow } from './metrics/agent-metrics.ts';
import { processFacts } from './metrics/process-facts.ts';
import { ProgrammingLatency } from './metrics/programming-latency.ts';
import type { AgentStatus, EffectiveConfig } from './status.ts';
import { SyncClock } from './sync-clock.ts';

/** What of the agent is told to others. Asked from the event loop only. */
export interface TelemetryView {
  readonly model: ServiceModel;
  readonly events: EventLog;
  status(): AgentStatus;
  failedRows(): Iterable<ServiceRow>;
  refusedRows(): Iterable<RefusedRow>;
  /** Why the first complete list is not in force yet, in words; undefined once it is. */
  notReady(): string | undefined;
  /** Returns what others have broken in the kernel. */
  broken(): Pick<IntegrityWatch, 'problem' | 'brokenMs'>;
}

const textFormat = 'text/plain; version=0.0.4; charset=utf-8';

/** Counts and times what the agent does, and serves health and metrics over HTTP. */
export class Telemetry implements Disposable {
  readonly #platform: Platform;
  readonly #node: string;
  readonly #view: TelemetryView;
  readonly #metrics: AgentMetrics;
  readonly #sync: SyncClock;
  readonly #latency: ProgrammingLatency;
  readonly #servers: { readonly name: 'health' | 'metrics'; readonly server: HttpServer }[] = [];
  #isLeaving = false;

  /** Starts to listen, or to wait for ports that are taken. Throws SysError. */
  constructor(
    platform: Platform,
    { node, healthAddress, metricsAddress }: EffectiveConfig,
    view: TelemetryView,
  ) {
    this.#platform = platform;
    this.#node = node;
    this.#view = view;
    const metrics = agentMetrics(() => ({
      status: view.status(),
      process: processFacts(platform),
      model: view.model,
      failedRows: () => view.failedRows(),
      refusedRows: () => view.refusedRows(),
      events: view.events.counts,
      sync: this.#sync,
      nodeEligible: !this.#isLeaving,
      ready: view.notReady() === undefined,
    }));
    this.#metrics = metrics;
    this.#sync = new SyncClock(platform, (seconds) => metrics.syncSeconds.observe(seconds));
    this.#latency = new ProgrammingLatency(
      () => platform.wallTimeMs(),
      (seconds) => metrics.programmingSeconds.observe(seconds),
    );
    const health = healthHandler({
      clock: platform,
      sync: this.#sync,
      isEligible: () => !this.#isLeaving,
      notReady: () => view.notReady(),
      broken: () => view.broken(),
      onAnswer: (path, status) =>
        (path === '/healthz' ? metrics.healthz : metrics.livez).add(1, `${status}`),
    });
    try {
      this.#serve('health', healthAddress, health);
      this.#serve('metrics', metricsAddress, (path) => this.#answerMetrics(path));
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Where health and metrics are served, as far as they are on. */
  get servers(): AgentStatus['servers'] {
    return this.#servers.map(({ name, server }) => ({ name, ...server.status }));
  }

  /** True when changes are programmed, none has waited too long, and nothing is broken in the kernel. */
  get isHealthy(): boolean {
    return this.#sync.waitedMs <= longestWaitMs && this.#view.broken().problem === undefined;
  }

  /** Notes changes that the source gave, before they are worked on. */
  taken(changes: readonly ObjectChange[]): void {
    for (const change of changes) {
      const ref = change.op === 'set' ? change.object : change;
      this.#metrics.changed(ref.kind);
      if (ref.kind === 'node' && ref.name === this.#node && change.op !== 'invalid') {
        this.#setLeaving(
          change.op === 'delete' || (change.object.kind === 'node' && change.object.leaving),
        );
      }
      if (change.op !== 'set' || change.triggeredMs === undefined) continue;
      const { object } = change;
      if (object.kind !== 'slice') continue;
      this.#latency.changed(`${object.namespace}/${object.service}`, change.triggeredMs);
    }
  }

  /** Changes are about to be worked on. */
  queued(): void {
    this.#sync.queued();
  }

  /** A row came into another state. */
  settled(key: string, status: RowStatus | undefined): void {
    if (status?.state !== 'pending') this.#latency.settled(key, status?.state);
  }

  /** All that was queued has been tried. Where nothing at all could be brought into force, nothing is done. */
  idle({ done, failed }: ReconcilerCounts): void {
    if (failed > 0 && done === 0) return;
    this.#latency.idle();
    this.#metrics.pending.services = 0;
    this.#metrics.pending.endpoints = 0;
    this.#sync.done();
  }

  /** The connection to the source was lost. */
  disconnected(): void {
    this.#metrics.disconnections.add(1);
  }

  [Symbol.dispose](): void {
    for (const { server } of this.#servers) server[Symbol.dispose]();
  }

  #serve(name: 'health' | 'metrics', address: string, handler: HttpHandler): void {
    if (address === 'off') return;
    const { events } = this.#view;
    const onChange = (problem: string | undefined) =>
      problem === undefined
        ? events.add('info', 'agent', this.#node, `${name} is served on ${address} now`)
        : events.add('warn', 'agent', this.#node, problem);
    const server = new HttpServer(this.#platform, {
      name,
      address,
      handler,
      portInUseHint:
        'another process has the port, e.g. kube-proxy; it is taken over once that is gone',
      onChange,
    });
    this.#servers.push({ name, server });
  }

  #answerMetrics(path: string): HttpResponse | undefined {
    // kube-proxy has this document on its metrics port, and Kubernetes' end-to-end tests ask for it. No mode of
    // kube-proxy has this name, which is how `heddle cleanup --kube-proxy` tells the two apart.
    if (path === '/proxyMode') return textResponse(200, 'heddle');
    if (path !== '/metrics') return undefined;
    return { status: 200, type: textFormat, body: this.#metrics.registry.render() };
  }

  #setLeaving(isLeaving: boolean): void {
    if (isLeaving === this.#isLeaving) return;
    this.#isLeaving = isLeaving;
    const message = isLeaving
      ? `node ${this.#node} is being deleted: /healthz tells load balancers to leave it`
      : `node ${this.#node} stays: /healthz is good again`;
    this.#view.events.add('info', 'agent', this.#node, message);
  }
}
