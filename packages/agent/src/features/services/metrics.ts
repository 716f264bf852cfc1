import type { ObjectChange, ServiceInput } from '@heddle/objects';
import type { ServiceModel, ServiceRow } from '@heddle/services';
import type { RowStatus } from '@heddle/state';
import type { Platform } from '@heddle/sys';
import type { MetricFacts } from '../../metrics/agent-metrics.ts';
import { maxSeries, type Registry, type Sample } from '../../metrics/registry.ts';
import type { Rows } from '../../rows.ts';
import type { ServicesDatapath } from './datapath.ts';
import type { HealthChecks } from './health-checks.ts';
import { ProgrammingLatency } from './programming-latency.ts';

/** The parts of the services feature that its metrics are read from. */
export interface ServiceMetricsView {
  readonly platform: Pick<Platform, 'wallTimeMs'>;
  readonly model: Pick<ServiceModel, 'problems'>;
  readonly rows: Rows<ServiceRow>;
  readonly datapath: Pick<ServicesDatapath, 'services' | 'drops'>;
  readonly healthChecks: Pick<HealthChecks, 'counts'>;
}

/** The metrics that the services feature counts itself. */
export interface ServiceMetrics {
  /** Counts changes before they are worked on. */
  changed(changes: readonly ObjectChange<ServiceInput>[]): void;
  /** Notes the new state of a row; the status is absent when it was removed. */
  settled(key: string, status: RowStatus | undefined): void;
  /** Records that all changes were programmed, and the seconds that this took. */
  synced(seconds: number): void;
}

/** Buckets of kube-proxy, so that its dashboards fit: 1 ms to 16 s, doubled each time. */
const syncBounds = Array.from({ length: 15 }, (_, i) => 0.001 * 2 ** i);

/** Also kube-proxy's: 0.25 and 0.5 s, each second to 59, then each 5 s, then each 30 s, to 5 min. */
const programmingBounds = [
  ...[0.25, 0.5],
  ...Array.from({ length: 59 }, (_, i) => 1 + i),
  ...Array.from({ length: 12 }, (_, i) => 60 + 5 * i),
  ...Array.from({ length: 7 }, (_, i) => 120 + 30 * i),
];

/** Registers the metrics of services. */
export function addServiceMetrics(
  registry: Registry<MetricFacts>,
  view: ServiceMetricsView,
): ServiceMetrics {
  addSamples(registry, view);
  return addProxy(registry, view);
}

function addSamples(registry: Registry<MetricFacts>, view: ServiceMetricsView): void {
  registry.samples(
    'gauge',
    'heddle_service_problem',
    `1 for each service that is not programmed as its objects want it; at most ${maxSeries} of them.`,
    ['namespace', 'service'],
    () => troubledServices(view),
  );
  registry.samples(
    'counter',
    'heddle_refused_total',
    'Connections and datagrams that the BPF programs refused, by reason, since the maps were made.',
    ['reason'],
    () => view.datapath.drops.refusals().map(({ reason, count }): Sample => [[reason], count]),
  );
  registry.samples(
    'counter',
    'heddle_service_refused_total',
    `Connections and packets that were refused, by service and reason; the ${maxSeries} largest counts.`,
    ['namespace', 'service', 'reason'],
    () => refusedServices(view),
  );
  const total = registry.value.bind(registry, 'counter');
  total(
    'heddle_connections_total',
    'Connections and UDP flows for which a backend was chosen, at sockets and for external traffic.',
    ({ status }) => status.datapath.traffic.connections,
  );
  total(
    'heddle_packets_total',
    "Packets translated on the node's network interfaces, both ways.",
    ({ status }) => status.datapath.traffic.packets,
  );
  total(
    'heddle_bytes_total',
    'Bytes of the frames of these packets.',
    ({ status }) => status.datapath.traffic.bytes,
  );
  total(
    'heddle_repaired_entries_total',
    'Map entries that were found damaged at the start and repaired.',
    ({ status }) => status.datapath.repaired,
  );
  total(
    'heddle_destroyed_sockets_total',
    'Sockets that were closed because their backend was removed.',
    ({ status }) => status.datapath.socketsDestroyed,
  );
  registry.samples(
    'gauge',
    'heddle_health_check_ports',
    'Ports for health checks of services (healthCheckNodePort), by state: listening, or failed.',
    ['state'],
    () =>
      Object.entries(view.healthChecks.counts).map(([state, count]): Sample => [[state], count]),
  );
}

/** A service has several rows; those with the largest counts come first. */
function refusedServices({ rows, datapath }: ServiceMetricsView): Iterable<Sample> {
  const sums = new Map<string, { labels: readonly string[]; count: number }>();
  for (const { rowKey, reason, count } of datapath.services.refusalCounts()) {
    const row = rows.get(rowKey);
    if (!row) continue;
    const labels = [row.namespace, row.name, reason];
    const key = labels.join('\0');
    const sum = sums.get(key);
    if (sum) sum.count += count;
    else if (sums.size < maxSeries) sums.set(key, { labels, count });
  }
  return Array.from(sums.values(), ({ labels, count }): Sample => [labels, count]);
}

function* troubledServices({ model, rows }: ServiceMetricsView): Iterable<Sample> {
  const seen = new Set<string>();
  const add = function* (namespace: string, name: string): Iterable<Sample> {
    const key = `${namespace}/${name}`;
    if (seen.has(key) || seen.size === maxSeries) return;
    seen.add(key);
    yield [[namespace, name], 1];
  };
  for (const [key, { state }] of rows.statuses()) {
    const row = state === 'failed' ? rows.get(key) : undefined;
    if (row) yield* add(row.namespace, row.name);
  }
  for (const { kind, namespace, name, service } of model.problems.values()) {
    const own = kind === 'service' ? name : service;
    if (own !== undefined) yield* add(namespace, own);
  }
}

/** Registers the metrics with the names and meanings of kube-proxy. */
function addProxy(registry: Registry<MetricFacts>, view: ServiceMetricsView): ServiceMetrics {
  const seconds = (ms: number | undefined) => (ms ?? 0) / 1000;
  const gauge = registry.value.bind(registry, 'gauge');
  const pending = { services: 0, endpoints: 0 };
  const syncSeconds = registry.histogram(
    'kubeproxy_sync_proxy_rules_duration_seconds',
    'Time from the first of some changes until all of them are programmed.',
    syncBounds,
  );
  const programmingSeconds = registry.histogram(
    'kubeproxy_network_programming_duration_seconds',
    'Time from the change of a pod or service, as its EndpointSlice notes it, until it is programmed here.',
    programmingBounds,
  );
  gauge(
    'kubeproxy_sync_proxy_rules_last_timestamp_seconds',
    'Time at which all changes were programmed last (Unix time).',
    () => seconds(view.rows.lastDoneMs),
  );
  gauge(
    'kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds',
    'Time of the last change (Unix time).',
    () => seconds(view.rows.lastQueuedMs),
  );
  const serviceChanges = registry.counter(
    'kubeproxy_sync_proxy_rules_service_changes_total',
    'Changes of Services.',
  );
  gauge(
    'kubeproxy_sync_proxy_rules_service_changes_pending',
    'Changes of Services that are not programmed yet.',
    () => pending.services,
  );
  const endpointChanges = registry.counter(
    'kubeproxy_sync_proxy_rules_endpoint_changes_total',
    'Changes of EndpointSlices.',
  );
  gauge(
    'kubeproxy_sync_proxy_rules_endpoint_changes_pending',
    'Changes of EndpointSlices that are not programmed yet.',
    () => pending.endpoints,
  );
  const latency = new ProgrammingLatency(
    () => view.platform.wallTimeMs(),
    (each) => programmingSeconds.observe(each),
  );
  return {
    changed(changes) {
      for (const change of changes) {
        const { kind } = change.op === 'set' ? change.object : change;
        if (kind === 'service') {
          pending.services++;
          serviceChanges.add(1);
        } else if (kind === 'slice') {
          pending.endpoints++;
          endpointChanges.add(1);
        }
        if (change.op !== 'set' || change.triggeredMs === undefined) continue;
        const { object } = change;
        if (object.kind !== 'slice') continue;
        latency.changed(`${object.namespace}/${object.service}`, change.triggeredMs);
      }
    },
    settled(key, status) {
      if (status?.state !== 'pending') latency.settled(key, status?.state);
    },
    synced(took) {
      latency.idle();
      pending.services = 0;
      pending.endpoints = 0;
      syncSeconds.observe(took);
    },
  };
}
