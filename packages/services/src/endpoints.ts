import {
  compactList,
  type EndpointRecord,
  type Family,
  type ServicePort,
  type ServiceRecord,
  type SliceRecord,
} from '@heddle/objects';
import type { Backend } from './rows.ts';
import { hintedHere, type Locality } from './topology.ts';

/** An endpoint of one service port: where it is, and the port that serves there. */
export interface Candidate {
  readonly endpoint: EndpointRecord;
  /** Host order. */
  readonly port: number;
}

/**
 * The endpoints that a service's slices give for one of its ports in one family, sorted by address
 * and port, without duplicates. The port is matched by name and protocol, as the slices carry the
 * target port under the service port's name (an absent name is the empty one). An endpoint that is
 * in two slices, as while it moves between them, counts once, in its best condition.
 */
export function mergeEndpoints(
  slices: readonly SliceRecord[],
  port: ServicePort,
  family: Family,
): readonly Candidate[] {
  const found: Candidate[] = [];
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
      condition(b.endpoint) - condition(a.endpoint),
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

function condition({ ready, serving, terminating }: EndpointRecord): number {
  return (ready ? 4 : 0) + (serving ? 2 : 0) + (terminating ? 0 : 1);
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Which endpoints new connections may go to: those of the whole cluster or this node's. */
export type TrafficPolicy = 'Cluster' | 'Local';

/**
 * The endpoints that take new connections. Ready ones (all, if the service publishes unready
 * addresses) after the traffic policy and, for Cluster, after the topology hints; when that leaves
 * nothing, the terminating ones that still serve, again after the policy (KEP-1669).
 */
export function usableEndpoints(
  candidates: readonly Candidate[],
  policy: TrafficPolicy,
  publishNotReady: boolean,
  locality: Locality,
): readonly Candidate[] {
  const eligible =
    policy === 'Local'
      ? candidates.filter(({ endpoint }) => isLocal(endpoint, locality))
      : candidates;
  const ready = eligible.filter(({ endpoint }) => endpoint.ready || publishNotReady);
  if (ready.length === 0) {
    return eligible.filter(({ endpoint }) => endpoint.serving && endpoint.terminating);
  }
  if (policy === 'Local') return ready;
  const here = hintedHere(
    ready.map(({ endpoint }) => endpoint),
    locality,
  );
  return here ? ready.filter(({ endpoint }) => here(endpoint)) : ready;
}

/** Whether an endpoint is on this node. */
export function isLocal(endpoint: EndpointRecord, { nodeName }: Locality): boolean {
  return nodeName !== '' && endpoint.nodeName === nodeName;
}

/**
 * The backends of a row: the usable endpoints are active; every other endpoint that the slices
 * still list drains, so that connections to it are kept while it is unready, terminating or out of
 * the policy's reach. The exception is kube-proxy's (pkg/proxy/conntrack/cleanup.go): UDP to an
 * endpoint that doesn't serve is cut while another one serves, as nothing else would ever move such
 * a client to that one.
 */
export function toBackends(
  candidates: readonly Candidate[],
  usable: readonly Candidate[],
  port: ServicePort,
  weights: ServiceRecord['weights'],
): readonly Backend[] {
  const active = new Set(usable);
  const cutsUnserving =
    port.protocol === 'UDP' && candidates.some(({ endpoint }) => endpoint.serving);
  const backends: Backend[] = [];
  for (const candidate of candidates) {
    const { endpoint } = candidate;
    const isActive = active.has(candidate);
    if (!isActive && cutsUnserving && !endpoint.serving) continue;
    backends.push({
      address: endpoint.address,
      port: candidate.port,
      state: isActive ? 'active' : 'draining',
      weight: weights?.get(endpoint.address) ?? weights?.get(endpoint.target) ?? 1,
    });
  }
  return compactList(backends);
}
