import {
  compactList,
  type Family,
  type Forwarding,
  familyOf,
  ownText,
  type ServicePort,
  type ServiceRecord,
  type SliceRecord,
} from '@heddle/objects';
import { claimKey, type FrontendOwner, resolveConflicts } from './conflicts.ts';
import { reasonNotServed } from './eligibility.ts';
import { mergeEndpoints, type TrafficPolicy, toBackends, usableEndpoints } from './endpoints.ts';
import { forwardingOf, type NodeLookup } from './forwarding.ts';
import { wantedFrontends } from './frontends.ts';
import { countLocalReady, healthCheckFrontends } from './health-checks.ts';
import type { Frontend, HealthCheck, ServiceRow } from './rows.ts';
import type { Locality } from './topology.ts';

/** The inputs of a service's or pod's rows other than the object and its slices. */
export interface RowContext {
  readonly locality: Locality;
  /** This node's addresses that take NodePorts. */
  readonly nodeAddresses: readonly string[];
  /** The configured forwarding. */
  readonly forwarding: Forwarding;
  readonly nodes: NodeLookup;
  /**
   * Returns the reason why no object may have a frontend, as a sentence, or undefined if one may.
   */
  refusal(frontend: Frontend): string | undefined;
  /** Returns true if this node has the address; loopback counts. */
  isOwn(address: string): boolean;
  /**
   * Returns the other object (`Service default/web`) that has a frontend, or undefined if `owner`
   * has it.
   */
  keptBy(claim: string, owner: FrontendOwner): string | undefined;
}

/**
 * One port in one family with the frontends that no rule refuses, before conflicts are resolved.
 */
interface PortPlan {
  readonly port: ServicePort;
  readonly family: Family;
  readonly frontends: readonly Frontend[];
  /** Sentences about frontends that were refused. */
  readonly refused: readonly string[];
}

function planPorts(service: ServiceRecord, context: RowContext): readonly PortPlan[] {
  if (reasonNotServed(service)) return [];
  const plans: PortPlan[] = [];
  for (const port of service.ports) {
    for (const clusterIP of service.clusterIPs) {
      const family = familyOf(clusterIP);
      const refused: string[] = [];
      const frontends = wantedFrontends(service, port, family, context.nodeAddresses).filter(
        (frontend) => {
          const refusal = context.refusal(frontend);
          if (refusal && !refused.includes(refusal)) refused.push(refusal);
          return !refusal;
        },
      );
      plans.push({ port, family, frontends, refused });
    }
  }
  return plans;
}

/**
 * Returns the keys of all frontends that the service asks for and no rule refuses, and of its
 * health check.
 */
export function serviceClaims(service: ServiceRecord, context: RowContext): readonly string[] {
  const plans = planPorts(service, context);
  if (plans.length === 0) return compactList([]);
  const keys = [
    ...plans.flatMap(({ frontends }) => frontends),
    ...healthCheckFrontends(service, context.nodeAddresses),
  ].map(claimKey);
  return compactList(keys.length < 2 ? keys : [...new Set(keys)]);
}

/**
 * Returns the rows of one service: one for each port and family, and more where a Local traffic
 * policy makes the backends differ by frontend or client. `slices` are sorted by name.
 */
export function serviceRows(
  service: ServiceRecord,
  slices: readonly SliceRecord[],
  context: RowContext,
): readonly ServiceRow[] {
  const rows: ServiceRow[] = [];
  const taken = new Set<string>();
  for (const { port, family, frontends, refused } of planPorts(service, context)) {
    const candidates = mergeEndpoints(slices, port, family);
    const usable = (policy: TrafficPolicy) =>
      usableEndpoints(candidates, policy, service.publishNotReady, context.locality);
    const addRow = (
      suffix: '' | '/external' | '/outside',
      policy: TrafficPolicy,
      kept: readonly Frontend[],
      problems: readonly string[],
    ) => {
      const portName = port.name === '' ? String(port.port) : port.name;
      const outside = suffix === '/outside';
      const backends = usable(policy);
      // Usually only the node's own pods use a ClusterIP.
      const isExternal = kept.some(({ kind }) => kind !== 'ClusterIP');
      const { forwarding, problem } = isExternal
        ? forwardingOf(service, context.forwarding, { ...port, family }, backends, context.nodes)
        : ({ forwarding: 'snat' } as const);
      const all = problem === undefined ? problems : [...problems, problem];
      rows.push({
        key: ownText(
          `${service.namespace}/${service.name}:${portName}/${port.protocol}/${family}${suffix}`,
        ),
        scope: outside ? 'outside' : 'everybody',
        silent: outside && backends.length === 0 && usable('Cluster').length > 0,
        namespace: service.namespace,
        name: service.name,
        portName,
        protocol: port.protocol,
        family,
        frontends: compactList(kept),
        backends: toBackends(candidates, backends, port, service.weights),
        algorithm: service.algorithm,
        forwarding,
        sourceRanges: sourceRanges(service, kept, family),
        affinitySeconds: service.affinitySeconds,
        problems: compactList(
          outside ? all : [...service.problems, ...protocolProblems(port.protocol), ...all],
        ),
      });
    };
    const { kept, lost } = resolveConflicts(frontends, taken, 'service', (frontend) =>
      context.keptBy(claimKey(frontend), service),
    );
    const external = kept.filter(({ kind }) => kind !== 'ClusterIP');
    const problems = [...refused, ...lost];
    if (service.internalLocal) {
      const internal = kept.filter(({ kind }) => kind === 'ClusterIP');
      // Without an `/external` row the problems go to the ClusterIP's row.
      const isSplit = external.length > 0 || refused.length > 0;
      addRow('', 'Local', internal, isSplit ? [] : problems);
      if (isSplit) addRow('/external', 'Cluster', external, problems);
    } else {
      addRow('', 'Cluster', kept, problems);
    }
    // No external packet has the unspecified address as destination.
    const reachable = external.filter(({ address }) => address !== '0.0.0.0' && address !== '::');
    if (service.externalLocal && reachable.length > 0) addRow('/outside', 'Local', reachable, []);
  }
  return service.healthCheckPort === 0 ? rows : withHealthCheck(rows, service, slices, context);
}

/**
 * Returns the problem of SCTP: kernels have no hooks in connect and send of SCTP sockets, so their
 * addresses can't be translated.
 */
export function protocolProblems(protocol: ServicePort['protocol']): readonly string[] {
  if (protocol !== 'SCTP') return [];
  return [
    'SCTP is programmed for external traffic and pod interfaces (podDevices) only: sockets of this node and its pods do not reach it',
  ];
}

/** Adds the service's health check, or the reason why it has none, to the first row. */
function withHealthCheck(
  [first, ...others]: readonly ServiceRow[],
  service: ServiceRecord,
  slices: readonly SliceRecord[],
  context: RowContext,
): readonly ServiceRow[] {
  if (!first) return [];
  const port = service.healthCheckPort;
  const own = service.ports.some(
    ({ nodePort, protocol }) => nodePort === port && protocol === 'TCP',
  );
  const keeper = own
    ? 'another port of this service'
    : healthCheckFrontends(service, context.nodeAddresses)
        .map((frontend) => context.keptBy(claimKey(frontend), service))
        .find((other) => other !== undefined);
  if (keeper) {
    const problem = `healthCheckNodePort ${port} is taken: ${keeper} has it`;
    return [{ ...first, problems: [...first.problems, problem] }, ...others];
  }
  const localEndpoints = countLocalReady(service, slices, context.locality);
  return [{ ...first, healthCheck: { port, localEndpoints } }, ...others];
}

/**
 * Returns the source ranges of a row. As in kube-proxy, ranges of the other family don't restrict
 * this one, and the ranges apply only at load balancer frontends: NodePorts and externalIPs are
 * open.
 */
function sourceRanges(
  service: ServiceRecord,
  frontends: readonly Frontend[],
  family: Family,
): readonly string[] {
  if (!frontends.some(({ kind }) => kind === 'LoadBalancer')) return compactList([]);
  return compactList(service.sourceRanges.filter((range) => familyOf(range) === family));
}

/** Returns true if two rows are equal. */
export function sameRow(a: ServiceRow, b: ServiceRow): boolean {
  return (
    a.key === b.key &&
    a.silent === b.silent &&
    a.algorithm === b.algorithm &&
    a.forwarding === b.forwarding &&
    a.affinitySeconds === b.affinitySeconds &&
    a.portName === b.portName &&
    a.notAdmitted === b.notAdmitted &&
    sameHealthCheck(a.healthCheck, b.healthCheck) &&
    sameList(a.sourceRanges, b.sourceRanges, (x, y) => x === y) &&
    sameList(a.problems, b.problems, (x, y) => x === y) &&
    sameList(
      a.frontends,
      b.frontends,
      (x, y) => x.kind === y.kind && x.address === y.address && x.port === y.port,
    ) &&
    sameList(
      a.backends,
      b.backends,
      (x, y) =>
        x.address === y.address &&
        x.port === y.port &&
        x.state === y.state &&
        x.weight === y.weight,
    )
  );
}

function sameHealthCheck(a: HealthCheck | undefined, b: HealthCheck | undefined): boolean {
  return a?.port === b?.port && a?.localEndpoints === b?.localEndpoints;
}

function sameList<T>(a: readonly T[], b: readonly T[], same: (x: T, y: T) => boolean): boolean {
  return a.length === b.length && a.every((item, i) => same(item, b[i]!));
}
