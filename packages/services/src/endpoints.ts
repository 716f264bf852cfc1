import {
  compactList,
  type EndpointRecord,
  type Family,
  type ServicePort,
  type ServiceRecord,
  type SliceRecord,
} from '@heddle/objects';
import type { Backend } from './rows.ts';
import { hintFilter, type Locality } from './topology.ts';

/** An endpoint of one service port with the target port. */
export interface EndpointPort {
  readonly endpoint: EndpointRecord;
  /** Host order. */
  readonly port: number;
}

/**
 * Returns the endpoints in a service's slices for one of its ports in one family, sorted by address
 * and port, without duplicates. Ports match by name and protocol, because slices list the target
 * port under the service port's name (an absent name is the empty one). An endpoint that is in two
 * slices, for example while it moves between them, counts once, in its best condition.
 */
export function mergeEndpoints(
  slices: readonly SliceRecord[],
  port: ServicePort,
  family: Family,
): readonly EndpointPort[] {
  const found: EndpointPort[] = [];
  for (const slice of slices) {
    if (slice.family !== family) continue;
    for (const slicePort of slice.ports) {
      if (slicePort.name !== port.name || slicePort.protocol !== port.protocol) continue;
      for (const endpoint of slice.endpoints) found.push({ endpoint, port: slicePort.port });
    }
  }
  found.sort(
    (a, b) =>
      compareText(a.endpoint.address, b.endpoint.address) ||
      a.port - b.port ||
      conditionRank(b.endpoint) - conditionRank(a.endpoint),
  );
  return found.filter((candidate, i) => {
    const before = found[i - 1];
    return (
      !before ||
      before.endpoint.address !== candidate.endpoint.address ||
      before.port !== candidate.port
    );
  });
}

function conditionRank({ ready, serving, terminating }: EndpointRecord): number {
  return (ready ? 4 : 0) + (serving ? 2 : 0) + (terminating ? 0 : 1);
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The endpoints that new connections may use: those of the whole cluster or of this node. */
export type TrafficPolicy = 'Cluster' | 'Local';

/**
 * Returns the endpoints that take new connections: the ready ones (all, if the service publishes
 * unready addresses) that the traffic policy and, for Cluster, the topology hints allow; if there
 * is none, the terminating ones that still serve and that the policy allows (KEP-1669).
 */
export function usableEndpoints(
  candidates: readonly EndpointPort[],
  policy: TrafficPolicy,
  publishNotReady: boolean,
  locality: Locality,
): readonly EndpointPort[] {
  const eligible =
    policy === 'Local'
      ? candidates.filter(({ endpoint }) => isLocal(endpoint, locality))
      : candidates;
  const ready = eligible.filter(({ endpoint }) => endpoint.ready || publishNotReady);
  if (ready.length === 0) {
    return eligible.filter(({ endpoint }) => endpoint.serving && endpoint.terminating);
  }
  if (policy === 'Local') return ready;
  const isHinted = hintFilter(
    ready.map(({ endpoint }) => endpoint),
    locality,
  );
  return isHinted ? ready.filter(({ endpoint }) => isHinted(endpoint)) : ready;
}

/** Returns true if an endpoint is on this node. */
export function isLocal(endpoint: EndpointRecord, { nodeName }: Locality): boolean {
  return nodeName !== '' && endpoint.nodeName === nodeName;
}

/**
 * Returns the backends of a row. The usable endpoints are active. Every other endpoint in the
 * slices drains: existing connections are kept while it is unready, terminating or excluded by the
 * policy. UDP has an exception as in kube-proxy (pkg/proxy/conntrack/cleanup.go): flows to an
 * endpoint that doesn't serve are cut while another one serves, because otherwise their clients
 * would never move.
 */
export function toBackends(
  candidates: readonly EndpointPort[],
  usable: readonly EndpointPort[],
  port: ServicePort,
  weights: ServiceRecord['weights'],
): readonly Backend[] {
  const active = new Set(usable);
  const dropsUnserving =
    port.protocol === 'UDP' && candidates.some(({ endpoint }) => endpoint.serving);
  const backends: Backend[] = [];
  for (const candidate of candidates) {
    const { endpoint } = candidate;
    const isActive = active.has(candidate);
    if (!isActive && dropsUnserving && !endpoint.serving) continue;
    backends.push({
      address: endpoint.address,
      port: candidate.port,
      state: isActive ? 'active' : 'draining',
      weight: weights?.get(endpoint.address) ?? weights?.get(endpoint.target) ?? 1,
    });
  }
  return compactList(backends);
}
