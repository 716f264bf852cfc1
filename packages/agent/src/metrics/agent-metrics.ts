import type { ObjectKind } from '@heddle/objects';
import type { ServiceModel, ServiceRow } from '@heddle/services';
import type { RowStatus } from '@heddle/state';
import type { AgentStatus } from '../status.ts';
import type { SyncClock } from '../sync-clock.ts';
import type { ProcessFacts } from './process-facts.ts';
import { type Counter, type Histogram, mostSeries, Registry, type Sample } from './registry.ts';

/** What sampled metrics are read from, at one moment. */
export interface MetricFacts {
  readonly status: AgentStatus;
  readonly process: ProcessFacts;
  readonly model: Pick<ServiceModel, 'problems'>;
  /** Rows that failed, as far as somebody wants to know of them. */
  readonly failedRows: () => Iterable<ServiceRow>;
  /** What was refused of rows, most first, likewise. */
  readonly refusedRows: () => Iterable<RefusedRow>;
  readonly events: ReadonlyMap<string, number>;
  readonly sync: Pick<SyncClock, 'lastQueuedMs' | 'lastDoneMs'>;
  readonly nodeEligible: boolean;
  readonly ready: boolean;
}

/** How often something of a row was refused, and why. */
export interface RefusedRow {
  readonly row: Pick<ServiceRow, 'namespace' | 'name'>;
  readonly reason: string;
  readonly count: number;
}

/** What the agent counts itself. */
export interface AgentMetrics {
  readonly registry: Registry<MetricFacts>;
  readonly syncSeconds: Histogram;
  readonly programmingSeconds: Histogram;
  /** Label: kind of object. */
  readonly changes: Counter;
  readonly disconnections: Counter;
  /** Of the documents of the health server, by status code. */
  readonly healthz: Counter;
  readonly livez: Counter;
  /** Changes since the last sync was done. */
  readonly pending: { services: number; endpoints: number };
  /** Notes changes of objects that were taken in, by kind. */
  changed(kind: ObjectKind): void;
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

/** Registers all metrics of the agent. `gather` is called for each scrape. */
export function agentMetrics(gather: () => MetricFacts): AgentMetrics {
  const registry = new Registry(gather);
  const pending = { services: 0, endpoints: 0 };
  addState(registry);
  addSource(registry);
  const changes = registry.counter(
    'heddle_object_changes_total',
    'Changes of objects that the source gave, by kind of object.',
    ['kind'],
  );
  const disconnections = registry.counter(
    'heddle_source_disconnections_total',
    'How often the connection to the source was lost.',
  );
  const proxy = addProxy(registry, pending);
  addProcess(registry);
  return {
    ...{ registry, changes, disconnections, pending, ...proxy },
    changed(kind) {
      changes.add(1, kind);
      if (kind !== 'service' && kind !== 'slice') return;
      const isService = kind === 'service';
      pending[isService ? 'services' : 'endpoints']++;
      (isService ? proxy.serviceChanges : proxy.endpointChanges).add(1);
    },
  };
}

/** Adds the metrics about what others have changed in the kernel. */
function addIntegrity(registry: Registry<MetricFacts>): void {
  registry.samples(
    'gauge',
    'heddle_datapath_broken',
    'Hooks, pins and maps that somebody else has changed and that are not repaired yet, by kind.',
    ['kind'],
    ({ status: { integrity } }) =>
      (['hook', 'pin', 'map'] as const).map((kind): Sample => {
        return [[kind], integrity.broken.filter((damage) => damage.kind === kind).length];
      }),
  );
  registry.samples(
    'counter',
    'heddle_datapath_incidents_total',
    'How often somebody else changed hooks, pins or maps; those of a kind at one moment count once.',
    ['kind'],
    ({ status: { integrity } }) =>
      Object.entries(integrity.incidents).map(([kind, count]): Sample => [[kind], count]),
  );
  registry.samples(
    'counter',
    'heddle_datapath_repairs_total',
    'Repairs of hooks, pins and maps that somebody else had changed, by result: done or failed.',
    ['result'],
    ({ status: { integrity } }) => [
      [['done'], integrity.repairs],
      [['failed'], integrity.failedRepairs],
    ],
  );
}

/** Rows, maps, hooks: what is in force. */
function addState(registry: Registry<MetricFacts>): void {
  const gauge = registry.value.bind(registry, 'gauge');
  registry.samples(
    'gauge',
    'heddle_build_info',
    'Always 1; the label says which version runs.',
    ['version'],
    ({ status }) => [[[status.version], 1]],
  );
  registry.samples(
    'gauge',
    'heddle_rows',
    'Rows (a service port in one address family each) by state: done, pending or failed; absent while heddle_synced is 0.',
    ['state'],
    ({ status: { rows, synced } }) =>
      synced ? Object.entries(rows).map(([state, count]): Sample => [[state], count]) : [],
  );
  gauge(
    'heddle_synced',
    'Whether all objects were read once; before, the kernel serves what an earlier agent programmed.',
    ({ status: { synced } }) => (synced ? 1 : 0),
  );
  registry.samples(
    'gauge',
    'heddle_invalid_objects',
    'Objects whose newest version can not be used, by kind; the last good version is in force.',
    ['kind'],
    ({ model }) => {
      const counts = { service: 0, slice: 0, node: 0, pod: 0 };
      for (const { kind } of model.problems.values()) counts[kind]++;
      return Object.entries(counts).map(([kind, count]): Sample => [[kind], count]);
    },
  );
  registry.samples(
    'gauge',
    'heddle_service_problem',
    `1 for each service that is not in force as it should be; at most ${mostSeries} of them.`,
    ['namespace', 'service'],
    troubledServices,
  );
  const mapFacts = (pick: 'entries' | 'maxEntries') => (facts: MetricFacts) =>
    facts.status.datapath.maps.map((map): Sample => [[map.name], map[pick]]);
  registry.samples(
    'gauge',
    'heddle_map_entries',
    'Entries that a kernel map holds.',
    ['map'],
    mapFacts('entries'),
  );
  registry.samples(
    'gauge',
    'heddle_map_max_entries',
    'Entries that a kernel map has room for; set them with sizes in the configuration.',
    ['map'],
    mapFacts('maxEntries'),
  );
  registry.samples(
    'gauge',
    'heddle_hook_attached',
    'Whether a program of the kernel half is attached, by hook.',
    ['hook'],
    ({ status }) =>
      status.datapath.links.map(({ hook, attached }): Sample => [[hook], attached ? 1 : 0]),
  );
  addIntegrity(registry);
  registry.samples(
    'counter',
    'heddle_refused_total',
    'Connections and datagrams that the kernel half refused, by reason, since the maps were made.',
    ['reason'],
    ({ status }) => status.refusals.map(({ reason, count }): Sample => [[reason], count]),
  );
  registry.samples(
    'counter',
    'heddle_dropped_packets_total',
    "Packets dropped on the node's devices, by reason, since the maps were made.",
    ['reason'],
    ({ status }) => status.drops.map(({ reason, count }): Sample => [[reason], count]),
  );
  registry.samples(
    'counter',
    'heddle_service_refused_total',
    `Connections and packets that were refused, by service and reason; the ${mostSeries} that were most.`,
    ['namespace', 'service', 'reason'],
    refusedServices,
  );
  const total = registry.value.bind(registry, 'counter');
  total(
    'heddle_connections_total',
    'Connections and flows of UDP that were led to a backend, at sockets and from outside.',
    ({ status }) => status.datapath.traffic.connections,
  );
  total(
    'heddle_packets_total',
    "Packets translated on the node's devices, both ways.",
    ({ status }) => status.datapath.traffic.packets,
  );
  total(
    'heddle_bytes_total',
    'Bytes of their frames.',
    ({ status }) => status.datapath.traffic.bytes,
  );
  gauge(
    'heddle_flows_unanswered',
    'External flows that not both sides have confirmed.',
    ({ status }) => status.datapath.nat.unanswered,
  );
  gauge(
    'heddle_flows_unanswered_limit',
    'How many of them there may be, half of the table: for a new one beyond the oldest is evicted.',
    ({ status }) => status.datapath.nat.unansweredLimit,
  );
  registry.samples(
    'counter',
    'heddle_flows_evicted_total',
    'Flows that gave way to new ones, by why it was they, since the maps were made. None was confirmed by both sides and open.',
    ['reason'],
    ({ status }) =>
      status.datapath.nat.evicted.map(({ reason, count }): Sample => [[reason], count]),
  );
  registry.samples(
    'counter',
    'heddle_tcp_not_believed_total',
    'Segments of TCP that changed nothing, as no end of their connection can have sent their numbers, by flag.',
    ['flag'],
    ({ status }) =>
      status.datapath.nat.notBelieved.map(({ reason, count }): Sample => [[reason], count]),
  );
  gauge(
    'heddle_nat_ports',
    'Ports that stand for clients towards each backend from each address of the node (snatPorts).',
    ({ status }) => status.datapath.nat.ports,
  );
  gauge(
    'heddle_nat_port_pressure',
    'Largest share, 0 to 1, of the ports towards one backend that are taken; those of connections that are over are not.',
    ({ status }) => status.datapath.nat.portPressure,
  );
  registry.samples(
    'gauge',
    'heddle_nat_ports_used',
    'Ports that are taken towards a backend, where that is half of them or more; the 20 fullest.',
    ['protocol', 'backend', 'source'],
    fullestBackends,
  );
  gauge(
    'heddle_warnings',
    'Warnings that heddle status shows: what will be trouble unless somebody acts.',
    ({ status }) => status.warnings.length,
  );
  registry.value(
    'counter',
    'heddle_repaired_entries_total',
    'Map entries that were found broken and mended.',
    ({ status }) => status.datapath.repaired,
  );
  registry.value(
    'counter',
    'heddle_destroyed_sockets_total',
    'Sockets that were closed because their backend was gone.',
    ({ status }) => status.datapath.socketsDestroyed,
  );
  registry.samples(
    'counter',
    'heddle_events_total',
    'Events of the agent (heddle events), by kind.',
    ['kind'],
    ({ events }) => Array.from(events, ([kind, count]): Sample => [[kind], count]),
  );
  registry.samples(
    'gauge',
    'heddle_http_listening',
    'Whether the agent listens for health and metrics; 0: the port is taken.',
    ['server'],
    ({ status }) =>
      status.servers.map(({ name, listening }): Sample => [[name], listening ? 1 : 0]),
  );
  registry.samples(
    'gauge',
    'heddle_health_check_ports',
    'Ports for health checks of services (healthCheckNodePort), by state: listening, or failed.',
    ['state'],
    ({ status }) =>
      Object.entries(status.healthChecks).map(([state, count]): Sample => [[state], count]),
  );
  gauge(
    'heddle_ready',
    'Whether the first complete list of objects is in force (/readyz).',
    ({ ready }) => (ready ? 1 : 0),
  );
  gauge(
    'heddle_node_eligible',
    'Whether the node is to get new traffic: it is not being deleted (KEP-3836).',
    ({ nodeEligible }) => (nodeEligible ? 1 : 0),
  );
}

/** A service has several rows; those that were refused most come first. */
function refusedServices({ refusedRows }: MetricFacts): Iterable<Sample> {
  const sums = new Map<string, { labels: readonly string[]; count: number }>();
  for (const { row, reason, count } of refusedRows()) {
    const labels = [row.namespace, row.name, reason];
    const key = labels.join('\0');
    const sum = sums.get(key);
    if (sum) sum.count += count;
    else if (sums.size < mostSeries) sums.set(key, { labels, count });
  }
  return Array.from(sums.values(), ({ labels, count }): Sample => [labels, count]);
}

/** Below a half nobody needs to know which: a cluster in good health has no such series at all. */
function fullestBackends({ status }: MetricFacts): Sample[] {
  const { fullest, ports } = status.datapath.nat;
  return fullest
    .filter(({ used }) => used >= ports / 2)
    .map(({ protocol, backend, backendPort, source, used }): Sample => {
      const host = backend.includes(':') ? `[${backend}]` : backend;
      return [[protocol, `${host}:${backendPort}`, source], used];
    });
}

function* troubledServices({ model, failedRows }: MetricFacts): Iterable<Sample> {
  const seen = new Set<string>();
  const add = function* (namespace: string, name: string): Iterable<Sample> {
    const key = `${namespace}/${name}`;
    if (seen.has(key) || seen.size === mostSeries) return;
    seen.add(key);
    yield [[namespace, name], 1];
  };
  for (const { namespace, name } of failedRows()) yield* add(namespace, name);
  for (const { kind, namespace, name, service } of model.problems.values()) {
    const own = kind === 'service' ? name : service;
    if (own !== undefined) yield* add(namespace, own);
  }
}

/** Where the objects come from. */
function addSource(registry: Registry<MetricFacts>): void {
  const gauge = registry.value.bind(registry, 'gauge');
  const seconds = (time: string | undefined) =>
    time === undefined ? undefined : Date.parse(time) / 1000;
  gauge(
    'heddle_source_connected',
    'Whether the agent hears of changes: 0 while it is starting or disconnected.',
    ({ status: { source } }) => (source.phase === 'following' ? 1 : 0),
  );
  gauge(
    'heddle_source_disconnected_timestamp_seconds',
    'When the connection to the source was lost (Unix time); 0 while there is one.',
    ({ status: { source } }) =>
      source.phase === 'disconnected' ? (seconds(source.since) ?? 0) : 0,
  );
  gauge(
    'heddle_source_last_event_timestamp_seconds',
    'When the source last told of an object (Unix time).',
    ({ status: { source } }) => seconds(source.lastEvent),
  );
  gauge(
    'heddle_source_complete',
    'Whether the source has delivered everything once; nothing is removed before.',
    ({ status: { source } }) => (source.complete ? 1 : 0),
  );
  gauge(
    'heddle_source_problems',
    'Problems of the source that heddle status lists.',
    ({ status: { source } }) => source.problems.length,
  );
}

/** Names and meanings of kube-proxy. */
function addProxy(registry: Registry<MetricFacts>, pending: AgentMetrics['pending']) {
  const seconds = (ms: number | undefined) => (ms ?? 0) / 1000;
  const syncSeconds = registry.histogram(
    'kubeproxy_sync_proxy_rules_duration_seconds',
    'Time from the first of some changes until all that came are in force.',
    syncBounds,
  );
  const programmingSeconds = registry.histogram(
    'kubeproxy_network_programming_duration_seconds',
    'Time from the change of a pod or service, as its EndpointSlice notes it, until it is in force here.',
    programmingBounds,
  );
  registry.value(
    'gauge',
    'kubeproxy_sync_proxy_rules_last_timestamp_seconds',
    'When all changes were in force last (Unix time).',
    ({ sync }) => seconds(sync.lastDoneMs),
  );
  registry.value(
    'gauge',
    'kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds',
    'When a change came last (Unix time).',
    ({ sync }) => seconds(sync.lastQueuedMs),
  );
  const serviceChanges = registry.counter(
    'kubeproxy_sync_proxy_rules_service_changes_total',
    'Changes of Services.',
  );
  registry.value(
    'gauge',
    'kubeproxy_sync_proxy_rules_service_changes_pending',
    'Changes of Services that are not in force yet.',
    () => pending.services,
  );
  const endpointChanges = registry.counter(
    'kubeproxy_sync_proxy_rules_endpoint_changes_total',
    'Changes of EndpointSlices.',
  );
  registry.value(
    'gauge',
    'kubeproxy_sync_proxy_rules_endpoint_changes_pending',
    'Changes of EndpointSlices that are not in force yet.',
    () => pending.endpoints,
  );
  const healthz = registry.counter(
    'kubeproxy_proxy_healthz_total',
    'Answers of /healthz by status code.',
    ['code'],
  );
  const livez = registry.counter(
    'kubeproxy_proxy_livez_total',
    'Answers of /livez by status code.',
    ['code'],
  );
  return { syncSeconds, programmingSeconds, serviceChanges, endpointChanges, healthz, livez };
}

/** What any process of a cluster tells of itself. */
function addProcess(registry: Registry<MetricFacts>): void {
  const gauge = registry.value.bind(registry, 'gauge');
  registry.value(
    'counter',
    'process_cpu_seconds_total',
    'Processor time that the agent has used.',
    ({ process }) => process.cpuSeconds,
  );
  gauge(
    'process_resident_memory_bytes',
    'Memory of the agent that is in use.',
    ({ process }) => process.residentBytes,
  );
  gauge(
    'process_virtual_memory_bytes',
    'Address space of the agent, most of it without memory behind it.',
    ({ process }) => process.virtualBytes,
  );
  gauge(
    'process_start_time_seconds',
    'When the agent started (Unix time).',
    ({ process }) => process.startSeconds,
  );
  gauge('process_open_fds', 'Open file descriptors.', ({ process }) => process.openFds);
  gauge('process_max_fds', 'File descriptors that may be open.', ({ process }) => process.maxFds);
}

/** Rows that the reconciler could not bring into force, as long as somebody asks for more. */
export function* failedRows(
  statuses: Iterable<readonly [string, RowStatus]>,
  rowOf: (key: string) => ServiceRow | undefined,
): Iterable<ServiceRow> {
  for (const [key, { state }] of statuses) {
    const row = state === 'failed' ? rowOf(key) : undefined;
    if (row) yield row;
  }
}
