import {
  clusterNetworkPolicyKind,
  namespaceKind,
  networkPolicyKind,
  nodeKind,
  podKind,
} from '@heddle/objects';
import type { PodDemand } from '@heddle/policy';
import { runningPods, type Watch } from '../../source/watches.ts';

/** Completed pods are no peers. */
const running = 'status.phase!=Succeeded,status.phase!=Failed';

/** Returns the objects that network policies need: of other nodes' pods only those that may be peers. */
export function policyWatches(node: string, demand: PodDemand): readonly Watch[] {
  const peers: readonly Watch[] =
    demand === 'all'
      ? [{ kind: podKind, fieldSelector: running }]
      : Array.from(demand, (namespace) => ({
          ...{ kind: podKind, namespace, fieldSelector: running },
        }));
  return [
    { kind: networkPolicyKind },
    { kind: clusterNetworkPolicyKind, mayBeMissing: true },
    { kind: namespaceKind },
    { kind: nodeKind },
    runningPods(node),
    ...peers,
  ];
}
