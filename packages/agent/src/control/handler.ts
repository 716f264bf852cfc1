import type { ServiceModel, ServiceRow } from '@heddle/services';
import type { Reconciler, Table } from '@heddle/state';
import type { DatapathPart } from '../datapath-part.ts';
import type { EventLog } from '../events.ts';
import { ownersWithoutRow } from '../row-counts.ts';
import type {
  AgentStatus,
  BackendEntry,
  EffectiveConfig,
  HealthCheckEntry,
  Page,
  PodEntry,
  RowState,
  ServiceDetail,
  ServiceEntry,
} from '../status.ts';
import { DropFeed, flowPage, flushPage, natDestinations } from './flows.ts';
import { ControlError, type Request, textParam } from './protocol.ts';
import type { Follow, Handler } from './server.ts';

// A page ends at whichever comes first; a row with very many backends may exceed the second.
const rowsPerPage = 1000;
const itemsPerPage = 2000;

/** The parts of the agent that requests are answered from. */
export interface AgentView {
  readonly config: EffectiveConfig;
  readonly model: ServiceModel;
  readonly table: Table<ServiceRow>;
  readonly events: EventLog;
  reconciler(): Reconciler<ServiceRow>;
  datapath(): DatapathPart;
  healthCheck(key: string): HealthCheckEntry | undefined;
  status(): AgentStatus;
  /** Lets go of what is attached, as somebody is about to remove it. */
  release(): void;
}

/** Answers the requests of the control protocol. */
export function controlHandler(agent: AgentView): Handler {
  const sorted = sortedKeys(agent);
  const drops = new DropFeed();
  return (request, follow) => {
    switch (request.method) {
      case 'status':
        return agent.status();
      case 'pod.list':
        return podList(agent);
      case 'config.get':
        return agent.config;
      case 'service.list':
        return servicePage(agent, sorted(), request);
      case 'service.get':
        return serviceDetails(agent, sorted(), request);
      case 'backend.list':
        return backendPage(agent, sorted(), request);
      case 'events.list':
        return { items: agent.events.recent() };
      case 'events.follow':
        return followEvents(agent, follow);
      case 'flow.list':
        return flowPage(agent.table, agent.datapath(), request);
      case 'flow.flush':
        return flushPage(agent.table, agent.datapath(), request);
      case 'nat.list':
        return natDestinations(agent.datapath());
      case 'drops.follow':
        drops.follow(agent.datapath(), follow);
        return { following: true };
      case 'release':
        agent.release();
        return { released: true };
    }
  };
}

/** Keys of the rows, and those of services and pods that have none because they can't be used, in order. */
function sortedKeys({ table, model }: AgentView): () => readonly string[] {
  let revision = -1;
  let keys: readonly string[] = [];
  return () => {
    if (revision !== table.revision) {
      keys = Array.from(table.rows(), (row) => row.key).sort();
      revision = table.revision;
    }
    const orphans = ownersWithoutRow(
      model,
      (prefix) => keys[lowerBound(keys, prefix)]?.startsWith(prefix) === true,
    );
    return orphans.length === 0 ? keys : [...keys, ...orphans].sort();
  };
}

/** Index of the first key that is not less than `key`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

function servicePage(
  agent: AgentView,
  keys: readonly string[],
  { params }: Request,
): Page<ServiceEntry> {
  const namespace = textParam(params, 'namespace');
  const wanted = namespace === undefined ? keys : keysBelow(keys, `${namespace}/`);
  return pageOf(wanted, textParam(params, 'after'), (key) => [entryOf(agent, key)]);
}

function serviceDetails(
  agent: AgentView,
  keys: readonly string[],
  { params }: Request,
): { items: ServiceDetail[] } {
  const service = textParam(params, 'service');
  if (service === undefined) {
    throw new ControlError('bad-params', 'get service: service is missing (write namespace/name)');
  }
  const items = keysOfService(keys, service).map((key): ServiceDetail => {
    const detail = {
      ...entryOf(agent, key),
      endpoints: backendsOf(agent, key),
      refusals: agent.datapath().services.rowRefusals(key),
    };
    const healthCheck = agent.healthCheck(key);
    return healthCheck ? { ...detail, healthCheck } : detail;
  });
  if (items.length === 0) {
    throw new ControlError(
      'not-found',
      agent.status().synced
        ? `get service ${service}: the agent serves none of that name (heddle service list shows those there are)`
        : `get service ${service}: it is not known yet, because the objects are still being read (heddle status says more)`,
    );
  }
  return { items };
}

function backendPage(
  agent: AgentView,
  keys: readonly string[],
  { params }: Request,
): Page<BackendEntry> {
  const service = textParam(params, 'service');
  const wanted = service === undefined ? keys : keysOfService(keys, service);
  if (service !== undefined && wanted.length === 0) {
    throw new ControlError(
      'not-found',
      `list backends: the agent serves no service ${service} (heddle service list shows those there are)`,
    );
  }
  return pageOf(wanted, textParam(params, 'after'), (key) => backendsOf(agent, key));
}

/** A node has some hundred pods at most: they are one page. */
function podList({ model }: AgentView): Page<PodEntry> {
  const items = Array.from(model.pods(), ({ namespace, name, addresses }) => ({
    ...{ namespace, name, addresses },
  }));
  return { items };
}

function followEvents({ events }: AgentView, follow: Follow): { following: true } {
  events.follow(follow);
  return { following: true };
}

function keysOfService(keys: readonly string[], service: string): readonly string[] {
  const at = lowerBound(keys, service);
  return keys[at] === service ? [service] : keysBelow(keys, `${service}:`);
}

function keysBelow(keys: readonly string[], prefix: string): readonly string[] {
  const start = lowerBound(keys, prefix);
  let end = start;
  while (end < keys.length && keys[end]!.startsWith(prefix)) end++;
  return keys.slice(start, end);
}

function pageOf<Item>(
  keys: readonly string[],
  after: string | undefined,
  itemsOf: (key: string) => readonly Item[],
): Page<Item> {
  const items: Item[] = [];
  let at = after === undefined ? 0 : lowerBound(keys, after);
  if (keys[at] === after) at++;
  const end = Math.min(keys.length, at + rowsPerPage);
  while (at < end && items.length < itemsPerPage) items.push(...itemsOf(keys[at++]!));
  return at < keys.length ? { items, next: keys[at - 1]! } : { items };
}

function entryOf(agent: AgentView, key: string): ServiceEntry {
  const row = agent.table.get(key);
  if (!row) return unusable(agent, key);
  let active = 0;
  for (const { state } of row.backends) if (state === 'active') active++;
  return {
    key,
    namespace: row.namespace,
    name: row.name,
    port: row.portName,
    protocol: row.protocol,
    family: row.family,
    frontends: row.frontends.map(({ kind, address, port }) => ({ kind, address, port })),
    backends: { active, draining: row.backends.length - active },
    algorithm: row.algorithm,
    forwarding: row.forwarding,
    affinitySeconds: row.affinitySeconds,
    ...(row.sourceRanges.length > 0 ? { sourceRanges: row.sourceRanges } : {}),
    problems: row.problems,
    ...stateOf(agent, row),
  };
}

/** A service or pod of which no version could be used yet. */
function unusable({ model }: AgentView, key: string): ServiceEntry {
  const [namespace, name] = key.split(/\/(.*)/s) as [string, string];
  const problem = model.problemOf(key);
  return {
    key,
    namespace,
    name,
    port: '',
    protocol: '',
    family: '',
    frontends: [],
    backends: { active: 0, draining: 0 },
    algorithm: '',
    forwarding: '',
    affinitySeconds: 0,
    problems: [],
    status: 'failed',
    reason: problem?.reason ?? 'it is gone',
    since: new Date(0).toISOString(),
  };
}

function stateOf({ reconciler, model }: AgentView, row: ServiceRow): RowState {
  const status = reconciler().status(row.key);
  const since = new Date(status?.since ?? 0).toISOString();
  const problem = model.problemOf(`${row.namespace}/${row.name}`);
  if (problem && status?.state !== 'failed') {
    return {
      status: 'failed',
      reason: `${problem.reason} (the last good version is in force)`,
      since,
    };
  }
  const state = { status: status?.state ?? 'pending', since } as const;
  return status?.reason === undefined ? state : { ...state, reason: status.reason };
}

function backendsOf({ table, datapath, reconciler }: AgentView, key: string): BackendEntry[] {
  const row = table.get(key);
  if (!row) return [];
  const inForce = reconciler().status(key)?.state === 'done';
  const counters = new Map(
    (inForce ? datapath().services.backendCounters(key) : []).map((each) => [
      `${each.address} ${each.port}`,
      each,
    ]),
  );
  return row.backends.map(({ address, port, state, weight }) => {
    const entry = { service: key, address, port, state, weight };
    const counted = counters.get(`${address} ${port}`);
    if (!counted) return entry;
    const { connections, active, packets, bytes } = counted;
    // The kernel half counts open connections where the choice depends on them.
    return row.algorithm === 'least-connections'
      ? { ...entry, connections, active, packets, bytes }
      : { ...entry, connections, packets, bytes };
  });
}
