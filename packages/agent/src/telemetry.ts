import type { ObjectChange } from '@heddle/objects';
import { type HttpHandler, type HttpResponse, HttpServer, textResponse } from '@heddle/rpc';
import type { Platform } from '@heddle/sys';
import type { EventLog } from './events.ts';
import type { Progress } from './feature.ts';
import { healthHandler, longestWaitMs } from './health.ts';
import type { IntegrityWatch } from './integrity-watch.ts';
import { type AgentMetrics, agentMetrics, type MetricFacts } from './metrics/agent-metrics.ts';
import { processFacts } from './metrics/process-facts.ts';
import type { Registry } from './metrics/registry.ts';
import type { CoreStatus, EffectiveConfig } from './status.ts';

/** The parts of the agent that health and metrics are read from, from the event loop only. */
export interface TelemetryView {
  /** The names of the kinds of all features' objects. */
  readonly kinds: readonly string[];
  readonly events: EventLog;
  status(): CoreStatus;
  /** Returns the reason why the first complete list is not programmed yet, or undefined once it is. */
  notReady(): string | undefined;
  /** Returns what other programs have broken in the kernel. */
  broken(): Pick<IntegrityWatch, 'problem' | 'brokenMs'>;
  /** Returns how long changes have waited, over all features. */
  progress(): Pick<Progress, 'waitedMs' | 'lastDoneMs'>;
  /** Returns false while load balancers have to send the node no new traffic. */
  isNodeEligible(): boolean;
}

const textFormat = 'text/plain; version=0.0.4; charset=utf-8';

/** Serves health and metrics over HTTP. */
export class Telemetry implements Disposable {
  readonly #platform: Platform;
  readonly #node: string;
  readonly #view: TelemetryView;
  readonly #metrics: AgentMetrics;
  readonly #servers: { readonly name: 'health' | 'metrics'; readonly server: HttpServer }[] = [];

  /** Starts to listen, or to wait for ports that are taken. Throws SysError. */
  constructor(
    platform: Platform,
    { node, healthAddress, metricsAddress }: EffectiveConfig,
    view: TelemetryView,
  ) {
    this.#platform = platform;
    this.#node = node;
    this.#view = view;
    const metrics = agentMetrics(view.kinds, () => ({
      status: view.status(),
      process: processFacts(platform),
      events: view.events.counts,
      isNodeEligible: view.isNodeEligible(),
      isReady: view.notReady() === undefined,
    }));
    this.#metrics = metrics;
    const health = healthHandler({
      clock: platform,
      progress: () => view.progress(),
      isEligible: () => view.isNodeEligible(),
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

  /** The addresses at which health and metrics are served, unless they are off. */
  get servers(): CoreStatus['servers'] {
    return this.#servers.map(({ name, server }) => ({ name, ...server.status }));
  }

  /** True while changes are programmed, none has waited too long, and nothing is broken in the kernel. */
  get isHealthy(): boolean {
    return (
      this.#view.progress().waitedMs <= longestWaitMs && this.#view.broken().problem === undefined
    );
  }

  /** The registry, for the metrics of features. */
  get registry(): Registry<MetricFacts> {
    return this.#metrics.registry;
  }

  /** Counts changes of objects, before they are worked on. */
  changed(changes: readonly ObjectChange[]): void {
    this.#metrics.changed(changes);
  }

  /** Counts a loss of the connection to the source. */
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
    // kube-proxy has this name, which is how `heddle cleanup --kube-proxy` distinguishes the two.
    if (path === '/proxyMode') return textResponse(200, 'heddle');
    if (path !== '/metrics') return undefined;
    return { status: 200, type: textFormat, body: this.#metrics.registry.render() };
  }
}
