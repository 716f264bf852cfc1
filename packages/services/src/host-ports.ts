import {
  compactList,
  type Family,
  familyOf,
  type HostPort,
  isLoopback,
  isUnspecified,
  ownText,
  type PodRecord,
  unspecifiedAddress,
} from '@heddle/objects';
import { formatEndpoint } from '@heddle/sys';
import { claimKey, resolveConflicts } from './conflicts.ts';
import type { Frontend, ServiceRow } from './rows.ts';
import { protocolProblems, type RowContext } from './service-rows.ts';

// Serves hostPorts as the CNI plug-in portmap does: connections to the node's addresses, external
// and from the node, reach the container's port. The pod's readiness doesn't matter.

/** One hostPort in one family. */
interface PortPlan {
  readonly port: HostPort;
  readonly family: Family;
  /** The pod's address. */
  readonly address: string;
  readonly frontends: readonly Frontend[];
  /** Sentences about frontends that were refused. */
  readonly refused: readonly string[];
}

/** Returns a pod's name in rows: `pod/name`. */
export function podRowName(pod: string): string {
  return ownText(`pod/${pod}`);
}

function planPorts(pod: PodRecord, context: RowContext): readonly PortPlan[] {
  const plans: PortPlan[] = [];
  if (pod.nodeName === '' || pod.nodeName !== context.locality.nodeName) return plans;
  for (const port of pod.hostPorts) {
    for (const address of pod.addresses) {
      const family = familyOf(address);
      const { hostIP } = port;
      // As in portmap, 0.0.0.0 and :: mean all addresses of their own family only.
      if (hostIP !== '' && familyOf(hostIP) !== family) continue;
      const isAnyAddress = hostIP === '' || isUnspecified(hostIP);
      const isServed = isAnyAddress || context.isOwn(hostIP);
      const addresses = isAnyAddress
        ? [
            ...context.nodeAddresses.filter((each) => familyOf(each) === family),
            unspecifiedAddress(family),
          ]
        : [hostIP];
      const frontend = (each: string): Frontend => ({
        ...{ kind: 'HostPort', address: each },
        ...{ port: port.hostPort, protocol: port.protocol },
      });
      const refused = new Set<string>();
      if (!isServed) refused.add(`hostIP ${hostIP} is refused: this node has no such address`);
      const frontends = (isServed ? addresses.map(frontend) : []).filter((each) => {
        const refusal = context.refusal(each);
        if (refusal) refused.add(refusal);
        return !refusal;
      });
      plans.push({ ...{ port, family, address }, frontends, refused: [...refused] });
    }
  }
  return plans;
}

/**
 * Returns the key by which a pod with a loopback address as hostIP watches the claim on the
 * unspecified address, which includes all of loopback and may belong to an older object.
 */
export function loopbackWatch(claim: string): string {
  return `loopback ${claim}`;
}

/** Returns the claim on all of loopback that a frontend at one loopback address conflicts with. */
function loopbackClaim({ address, ...frontend }: Frontend): string | undefined {
  if (!isLoopback(address)) return undefined;
  return claimKey({ ...frontend, address: unspecifiedAddress(familyOf(address)) });
}

/** Returns the keys of all frontends that the pod asks for and of the claims that it watches. */
export function hostPortClaims(pod: PodRecord, context: RowContext): readonly string[] {
  const frontends = planPorts(pod, context).flatMap((plan) => plan.frontends);
  const watched = frontends.flatMap((frontend) => loopbackClaim(frontend) ?? []);
  return compactList([...new Set([...frontends.map(claimKey), ...watched.map(loopbackWatch)])]);
}

/**
 * Returns the rows of a pod: one for each hostPort and family. A pod that is being deleted serves
 * until it is gone, unless another object asks for its port; then it keeps only existing
 * connections.
 */
export function hostPortRows(pod: PodRecord, context: RowContext): readonly ServiceRow[] {
  const taken = new Set<string>();
  const keys = new Set<string>();
  const rows: ServiceRow[] = [];
  for (const { port, family, address, frontends, refused } of planPorts(pod, context)) {
    const { hostPort, containerPort, protocol, hostIP } = port;
    const portName = ownText(hostIP === '' ? `${hostPort}` : formatEndpoint(hostIP, hostPort));
    const name = podRowName(pod.name);
    const key = ownText(`${pod.namespace}/${name}:${portName}/${protocol}/${family}`);
    // The API server rejects pods in which two containers have the same one.
    if (keys.has(key)) continue;
    keys.add(key);
    const { kept, lost } = resolveConflicts(frontends, taken, 'pod', (frontend) => {
      const allLoopback = loopbackClaim(frontend);
      const keeper = context.keptBy(claimKey(frontend), pod);
      return keeper ?? (allLoopback && context.keptBy(allLoopback, pod));
    });
    rows.push({
      ...{ key, scope: 'everybody', silent: false },
      ...{ namespace: pod.namespace, name, portName, protocol, family },
      frontends: compactList(kept),
      backends: [
        { address, port: containerPort, state: kept.length > 0 ? 'active' : 'draining', weight: 1 },
      ],
      algorithm: 'random',
      forwarding: 'snat',
      sourceRanges: compactList([]),
      affinitySeconds: 0,
      problems: compactList([...protocolProblems(protocol), ...refused, ...lost]),
    });
  }
  return rows;
}
