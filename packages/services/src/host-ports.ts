import {
  compactList,
  type Family,
  familyOf,
  type HostPort,
  isLoopback,
  isUnspecified,
  ownText,
  type PodRecord,
  unspecifiedOf,
} from '@heddle/objects';
import { formatEndpoint } from '@heddle/sys';
import { claimKey, settleFrontends } from './conflicts.ts';
import type { Frontend, ServiceRow } from './rows.ts';
import { protocolProblems, type RowContext } from './service-rows.ts';

// A pod's hostPort is served as the CNI plug-in portmap serves it: the node's addresses lead to the
// container's port, from outside and from the node. It does not depend on the pod's readiness.

/** One hostPort in one family. */
interface PortPlan {
  readonly port: HostPort;
  readonly family: Family;
  /** Of the pod. */
  readonly address: string;
  readonly frontends: readonly Frontend[];
  /** Why there are none, in sentences. */
  readonly refused: readonly string[];
}

/** `pod/name`: how rows call a pod, where a service has its name. */
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
      // As in portmap, 0.0.0.0 stands for the addresses of its family only, and so does ::.
      if (hostIP !== '' && familyOf(hostIP) !== family) continue;
      const isWide = hostIP === '' || isUnspecified(hostIP);
      const isServed = isWide || context.isOwn(hostIP);
      const addresses = isWide
        ? [
            ...context.nodeAddresses.filter((each) => familyOf(each) === family),
            unspecifiedOf(family),
          ]
        : [hostIP];
      const frontend = (each: string): Frontend => ({
        ...{ kind: 'HostPort', address: each },
        ...{ port: port.hostPort, protocol: port.protocol },
      });
      const refused = new Set<string>();
      if (!isServed) refused.add(`hostIP ${hostIP} is refused: it is no address of this node`);
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
 * What a pod with a loopback address as hostIP watches: who asks for the unspecified address (the
 * claim), which stands for all of loopback, may be older.
 */
export function loopbackWatch(claim: string): string {
  return `loopback ${claim}`;
}

/** The claim on all of loopback that a frontend at one address of it goes against. */
function loopbackClaim({ address, ...frontend }: Frontend): string | undefined {
  if (!isLoopback(address)) return undefined;
  return claimKey({ ...frontend, address: unspecifiedOf(familyOf(address)) });
}

/** Keys of all frontends that the pod asks for, and of what it watches. */
export function hostPortClaims(pod: PodRecord, context: RowContext): readonly string[] {
  const frontends = planPorts(pod, context).flatMap((plan) => plan.frontends);
  const watched = frontends.flatMap((frontend) => loopbackClaim(frontend) ?? []);
  return compactList([...new Set([...frontends.map(claimKey), ...watched.map(loopbackWatch)])]);
}

/**
 * The rows of a pod: one for each hostPort and family. A pod that is being deleted serves until it
 * is gone, unless another one asks for its port; then it keeps the connections that it has.
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
    // The API server lets no two containers of a pod have the same.
    if (keys.has(key)) continue;
    keys.add(key);
    const { kept, lost } = settleFrontends(frontends, taken, 'pod', (frontend) => {
      const wide = loopbackClaim(frontend);
      const keeper = context.keptBy(claimKey(frontend), pod);
      return keeper ?? (wide && context.keptBy(wide, pod));
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
