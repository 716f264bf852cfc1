import type { ObjectChange } from '@heddle/objects';
import type { CoreStatus } from '../status.ts';
import type { ProcessFacts } from './process-facts.ts';
import { type Counter, Registry, type Sample } from './registry.ts';

/** The facts that sampled metrics are read from, at one moment. */
export interface MetricFacts {
  readonly status: CoreStatus;
  readonly process: ProcessFacts;
  readonly events: ReadonlyMap<string, number>;
  readonly isNodeEligible: boolean;
  readonly isReady: boolean;
}

/** The metrics that the agent counts itself. */
export interface AgentMetrics {
  readonly registry: Registry<MetricFacts>;
  readonly disconnections: Counter;
  /** The answers of the health server by status code. */
  readonly healthz: Counter;
  readonly livez: Counter;
  /** Counts changes of objects, before they are worked on. */
  changed(changes: readonly ObjectChange[]): void;
}

/**
 * Registers the metrics of the agent, features aside. `kinds` are the names of all kinds of objects. `gather` is
 * called for each scrape.
 */
export function agentMetrics(kinds: readonly string[], gather: () => MetricFacts): AgentMetrics {
  const registry = new Registry(gather);
  const changed = addObjects(registry, kinds);
  addState(registry);
  addDatapath(registry);
  addIntegrity(registry);
  addSource(registry);
  const disconnections = registry.counter(
    'heddle_source_disconnections_total',
    'Number of times that the connection to the source was lost.',
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
  addProcess(registry);
  return { registry, changed, disconnections, healthz, livez };
}

function addObjects(
  registry: Registry<MetricFacts>,
  kinds: readonly string[],
): AgentMetrics['changed'] {
  const changes = registry.counter(
    'heddle_object_changes_total',
    'Changes of objects that the source reported, by kind of object.',
    ['kind'],
  );
  const invalid = new Map(kinds.map((kind) => [kind, new Set<string>()]));
  registry.samples(
    'gauge',
    'heddle_invalid_objects',
    'Objects whose newest version cannot be used, by kind; the last good version stays programmed.',
    ['kind'],
    () => Array.from(invalid, ([kind, objects]): Sample => [[kind], objects.size]),
  );
  return (all) => {
    for (const change of all) {
      const { kind, namespace, name } = change.op === 'set' ? change.object : change;
      changes.add(1, kind);
      const objects = invalid.get(kind)!;
      if (change.op === 'invalid') objects.add(`${namespace}/${name}`);
      else if (objects.size > 0) objects.delete(`${namespace}/${name}`);
    }
  };
}

/** Adds the metrics of changes by other programs in the kernel. */
function addIntegrity(registry: Registry<MetricFacts>): void {
  registry.samples(
    'gauge',
    'heddle_datapath_broken',
    'Hooks, pins and maps that another program has changed and that are not repaired yet, by kind.',
    ['kind'],
    ({ status: { integrity } }) =>
      (['hook', 'pin', 'map'] as const).map((kind): Sample => {
        return [[kind], integrity.broken.filter((damage) => damage.kind === kind).length];
      }),
  );
  registry.samples(
    'counter',
    'heddle_datapath_incidents_total',
    'Number of times that another program changed hooks, pins or maps; those of a kind at one moment count once.',
    ['kind'],
    ({ status: { integrity } }) =>
      Object.entries(integrity.incidents).map(([kind, count]): Sample => [[kind], count]),
  );
  registry.samples(
    'counter',
    'heddle_datapath_repairs_total',
    'Repairs of hooks, pins and maps that another program had changed, by result: done or failed.',
    ['result'],
    ({ status: { integrity } }) => [
      [['done'], integrity.repairs],
      [['failed'], integrity.failedRepairs],
    ],
  );
}

/** Adds the metrics of the agent's own state. */
function addState(registry: Registry<MetricFacts>): void {
  const gauge = registry.value.bind(registry, 'gauge');
  registry.samples(
    'gauge',
    'heddle_build_info',
    'Always 1; the label has the version that runs.',
    ['version'],
    ({ status }) => [[[status.version], 1]],
  );
  registry.samples(
    'gauge',
    'heddle_rows',
    'Rows of all features (of services one for each port and address family) by state: done, pending or failed; absent while heddle_synced is 0.',
    ['state'],
    ({ status: { rows, synced } }) =>
      synced ? Object.entries(rows).map(([state, count]): Sample => [[state], count]) : [],
  );
  gauge(
    'heddle_synced',
    '1 if all objects were read once; before, the kernel serves what an earlier agent programmed.',
    ({ status: { synced } }) => (synced ? 1 : 0),
  );
  gauge(
    'heddle_warnings',
    'Warnings that heddle status shows: dangers that need an action.',
    ({ status }) => status.warnings.length,
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
    '1 if the agent listens for health and metrics, 0 if the port is taken.',
    ['server'],
    ({ status }) =>
      status.servers.map(({ name, listening }): Sample => [[name], listening ? 1 : 0]),
  );
  gauge(
    'heddle_ready',
    '1 if the first complete list of objects is programmed (/readyz).',
    ({ isReady }) => (isReady ? 1 : 0),
  );
  gauge(
    'heddle_node_eligible',
    '1 if the node is to get new traffic, 0 if it is being deleted (KEP-3836).',
    ({ isNodeEligible }) => (isNodeEligible ? 1 : 0),
  );
}

/** Adds the metrics of maps, hooks and drops. */
function addDatapath(registry: Registry<MetricFacts>): void {
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
    '1 if a BPF program is attached, by hook.',
    ['hook'],
    ({ status }) =>
      status.datapath.links.map(({ hook, attached }): Sample => [[hook], attached ? 1 : 0]),
  );
  registry.samples(
    'counter',
    'heddle_dropped_packets_total',
    "Packets dropped on the node's network interfaces, by reason, since the maps were made.",
    ['reason'],
    ({ status }) => status.drops.map(({ reason, count }): Sample => [[reason], count]),
  );
}

/** Adds the metrics of the connection to the source. */
function addSource(registry: Registry<MetricFacts>): void {
  const gauge = registry.value.bind(registry, 'gauge');
  const seconds = (time: string | undefined) =>
    time === undefined ? undefined : Date.parse(time) / 1000;
  gauge(
    'heddle_source_connected',
    '1 if the agent observes changes, 0 while it is starting or disconnected.',
    ({ status: { source } }) => (source.phase === 'following' ? 1 : 0),
  );
  gauge(
    'heddle_source_disconnected_timestamp_seconds',
    'Time at which the connection to the source was lost (Unix time); 0 while there is one.',
    ({ status: { source } }) =>
      source.phase === 'disconnected' ? (seconds(source.since) ?? 0) : 0,
  );
  gauge(
    'heddle_source_last_event_timestamp_seconds',
    'Time of the last change that the source reported (Unix time).',
    ({ status: { source } }) => seconds(source.lastEvent),
  );
  gauge(
    'heddle_source_complete',
    '1 if the source has delivered everything once; nothing is removed before.',
    ({ status: { source } }) => (source.complete ? 1 : 0),
  );
  gauge(
    'heddle_source_problems',
    'Problems of the source that heddle status lists.',
    ({ status: { source } }) => source.problems.length,
  );
}

/** Adds the metrics that any process of a cluster has. */
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
    'Time at which the agent started (Unix time).',
    ({ process }) => process.startSeconds,
  );
  gauge('process_open_fds', 'Open file descriptors.', ({ process }) => process.openFds);
  gauge('process_max_fds', 'File descriptors that may be open.', ({ process }) => process.maxFds);
}
