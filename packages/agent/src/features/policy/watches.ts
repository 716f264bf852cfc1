import {
  clusterNetworkPolicyKind,
  namespaceKind,
  networkPolicyKind,
  nodeKind,
  podKind,
  serviceNameLabel,
  sliceKind,
} from '@heddle/objects';
import type { PodDemand } from '@heddle/policy';
import { runningPods, unfinished, type Watch } from '../../source/watches.ts';

/** Returns the objects that network policies need: of other nodes' pods only those that may be peers. */
export function policyWatches(
  node: string,
  demand: PodDemand,
  nameServers: ReadonlySet<string>,
): readonly Watch[] {
  const peers: readonly Watch[] =
    demand === 'all'
      ? [{ kind: podKind, fieldSelector: unfinished }]
      : Array.from(demand, (namespace) => ({
          ...{ kind: podKind, namespace, fieldSelector: unfinished },
        }));
  return [
    { kind: networkPolicyKind },
    { kind: clusterNetworkPolicyKind, mayBeMissing: true },
    { kind: namespaceKind },
    { kind: nodeKind },
    runningPods(node),
    ...peers,
    ...Array.from(nameServers, (service) => slicesOf(service)),
  ];
}

/** Returns the watch of the endpoints of a service, as `namespace/name`. */
function slicesOf(service: string): Watch {
  const [namespace, name] = service.split('/') as [string, string];
  return { kind: sliceKind, namespace, labelSelector: `${serviceNameLabel}=${name}` };
}
