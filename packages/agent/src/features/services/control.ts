import type { ServiceModel, ServiceRow } from '@heddle/services';
import { ControlError, textParam } from '../../control/protocol.ts';
import type { Methods, Params } from '../../feature.ts';
import type { Rows } from '../../rows.ts';
import type { Page, RowState } from '../../status.ts';
import type { ServicesDatapath } from './datapath.ts';
import { ownersWithoutRow } from './row-counts.ts';
import type {
  BackendEntry,
  HealthCheckEntry,
  PodEntry,
  ServiceDetail,
  ServiceEntry,
} from './status.ts';

// A page ends at whichever limit is reached first; a row with very many backends may exceed the second.
const rowsPerPage = 1000;
const itemsPerPage = 2000;

/** The parts of the services feature that requests are answered from. */
export interface ServicesView {
  readonly model: ServiceModel;
  readonly rows: Rows<ServiceRow>;
  readonly datapath: Pick<ServicesDatapath, 'services'>;
  healthCheck(key: string): HealthCheckEntry | undefined;
  /** Returns true once the first objects were read. */
  hasRead(): boolean;
}

/** Returns the control methods about services, their backends, and the node's pods. */
export function serviceMethods(view: ServicesView): Methods {
  const sorted = sortedKeys(view);
  return {
    'service.list': (params) => servicePage(view, sorted(), params),
    'service.get': (params) => serviceDetails(view, sorted(), params),
    'backend.list': (params) => backendPage(view, sorted(), params),
    'pod.list': () => podList(view),
  };
}

/** Returns the sorted keys of the rows, and of the services and pods without a row as they cannot be used. */
function sortedKeys({ rows, model }: ServicesView): () => readonly string[] {
  let revision = -1;
  let keys: readonly string[] = [];
  return () => {
    if (revision !== rows.table.revision) {
      keys = Array.from(rows.all(), (row) => row.key).sort();
      revision = rows.table.revision;
    }
    const orphans = ownersWithoutRow(
      model,
      (prefix) => keys[lowerBound(keys, prefix)]?.startsWith(prefix) === true,
    );
    return orphans.length === 0 ? keys : [...keys, ...orphans].sort();
  };
}

/** Returns the index of the first key that is not less than `key`. */
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
  view: ServicesView,
  keys: readonly string[],
  params: Params,
): Page<ServiceEntry> {
  const namespace = textParam(params, 'namespace');
  const wanted = namespace === undefined ? keys : keysBelow(keys, `${namespace}/`);
  return pageOf(wanted, textParam(params, 'after'), (key) => [entryOf(view, key)]);
}

function serviceDetails(
  view: ServicesView,
  keys: readonly string[],
  params: Params,
): { items: ServiceDetail[] } {
  const service = textParam(params, 'service');
  if (service === undefined) {
    throw new ControlError('bad-params', 'get service: service is missing (write namespace/name)');
  }
  const items = keysOfService(keys, service).map((key): ServiceDetail => {
    const detail = {
      ...entryOf(view, key),
      endpoints: backendsOf(view, key),
      refusals: view.datapath.services.rowRefusals(key),
    };
    const healthCheck = view.healthCheck(key);
    return healthCheck ? { ...detail, healthCheck } : detail;
  });
  if (items.length === 0) {
    throw new ControlError(
      'not-found',
      view.hasRead()
        ? `get service ${service}: the agent serves none of that name (heddle service list shows those there are)`
        : `get service ${service}: it is not known yet, because the objects are still being read (heddle status says more)`,
    );
  }
  return { items };
}

function backendPage(
  view: ServicesView,
  keys: readonly string[],
  params: Params,
): Page<BackendEntry> {
  const service = textParam(params, 'service');
  const wanted = service === undefined ? keys : keysOfService(keys, service);
  if (service !== undefined && wanted.length === 0) {
    throw new ControlError(
      'not-found',
      `list backends: the agent serves no service ${service} (heddle service list shows those there are)`,
    );
  }
  return pageOf(wanted, textParam(params, 'after'), (key) => backendsOf(view, key));
}

/** Returns the pods in one page: a node has some hundred at most. */
function podList({ model }: ServicesView): Page<PodEntry> {
  const items = [...model.pods()]
    .filter(({ addresses }) => addresses.length > 0)
    .map(({ namespace, name, addresses }) => ({ namespace, name, addresses }));
  return { items };
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

function entryOf(view: ServicesView, key: string): ServiceEntry {
  const row = view.rows.get(key);
  if (!row) return unusable(view, key);
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
    ...stateOf(view, row),
  };
}

/** Returns the entry of a service or pod of which no version could be used yet. */
function unusable({ model }: ServicesView, key: string): ServiceEntry {
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
    reason: problem?.reason ?? 'it was deleted',
    since: new Date(0).toISOString(),
  };
}

function stateOf({ rows, model }: ServicesView, row: ServiceRow): RowState {
  const status = rows.status(row.key);
  const since = new Date(status?.since ?? 0).toISOString();
  const problem = model.problemOf(`${row.namespace}/${row.name}`);
  if (problem && status?.state !== 'failed') {
    return {
      status: 'failed',
      reason: `${problem.reason} (the last good version stays programmed)`,
      since,
    };
  }
  const state = { status: status?.state ?? 'pending', since } as const;
  return status?.reason === undefined ? state : { ...state, reason: status.reason };
}

function backendsOf({ rows, datapath }: ServicesView, key: string): BackendEntry[] {
  const row = rows.get(key);
  if (!row) return [];
  const isProgrammed = rows.status(key)?.state === 'done';
  const counters = new Map(
    (isProgrammed ? datapath.services.backendCounters(key) : []).map((each) => [
      `${each.address} ${each.port}`,
      each,
    ]),
  );
  return row.backends.map(({ address, port, state, weight }) => {
    const entry = { service: key, address, port, state, weight };
    const counted = counters.get(`${address} ${port}`);
    if (!counted) return entry;
    const { connections, active, packets, bytes } = counted;
    // The BPF programs count open connections where the choice depends on them.
    return row.algorithm === 'least-connections'
      ? { ...entry, connections, active, packets, bytes }
      : { ...entry, connections, packets, bytes };
  });
}
