import { familyOf, type Labels, labelValue, type PodRecord } from '@heddle/objects';
import type { PolicyWorld } from '@heddle/policy';
import { podName } from './texts.ts';

/** Labels that differ between the pods of one workload, or between its versions. */
const volatileLabels: ReadonlySet<string> = new Set([
  'pod-template-hash',
  'pod-template-generation',
  'controller-revision-hash',
  'controller-uid',
  'job-name',
  'batch.kubernetes.io/controller-uid',
  'batch.kubernetes.io/job-name',
  'batch.kubernetes.io/job-completion-index',
  'statefulset.kubernetes.io/pod-name',
  'apps.kubernetes.io/pod-index',
]);

/** Returns the labels that all pods of a workload have: without hashes, indexes and ids. */
export function workloadLabels(labels: Labels): readonly (readonly [key: string, value: string])[] {
  const pairs: [string, string][] = [];
  for (let i = 0; i < labels.length; i += 2) {
    if (!volatileLabels.has(labels[i]!)) pairs.push([labels[i]!, labels[i + 1]!]);
  }
  return pairs;
}

/** Returns the name of the workload that a pod is of, as far as its labels show it, or the pod's own name. */
export function workloadName({ name, labels }: Pick<PodRecord, 'name' | 'labels'>): string {
  const job = labelValue(labels, 'batch.kubernetes.io/job-name') ?? labelValue(labels, 'job-name');
  if (job !== undefined) return job;
  const hash = labelValue(labels, 'pod-template-hash');
  const at = hash === undefined ? -1 : name.lastIndexOf(`-${hash}-`);
  if (at > 0) return name.slice(0, at);
  if (labelValue(labels, 'statefulset.kubernetes.io/pod-name') === name) {
    return name.replace(/-\d+$/, '');
  }
  if (labelValue(labels, 'controller-revision-hash') !== undefined) {
    return name.replace(/-[a-z0-9]{5}$/, '');
  }
  return name;
}

/** Pods that no policy treats differently: all have the same verdicts. */
export interface PodGroup {
  /** `namespace/name` of the workload. */
  readonly name: string;
  readonly pods: readonly PodRecord[];
}

/** Returns pods in groups, in the order of their names. */
export function groupPods(world: PolicyWorld, pods: Iterable<PodRecord>): readonly PodGroup[] {
  const signature = signatures(world);
  const groups = new Map<string, PodRecord[]>();
  for (const pod of pods) {
    const labels = workloadLabels(pod.labels);
    const ports = pod.namedPorts.map((port) => `${port.name} ${port.protocol} ${port.port}`);
    // Pods without labels have nothing in common that shows their workload.
    const own = labels.length > 0 ? labels : workloadName(pod);
    const key = [pod.namespace, own, ports, signature(pod)].join('\n');
    const group = groups.get(key);
    if (group) group.push(pod);
    else groups.set(key, [pod]);
  }
  const named = [...groups.values()].map(
    (group): PodGroup => ({ name: `${group[0]!.namespace}/${commonName(group)}`, pods: group }),
  );
  return withUniqueNames(named.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)));
}

/** Returns the name that pods have in common: that of their workload, or the beginning of their names. */
export function commonName(pods: readonly PodRecord[]): string {
  if (pods.length === 1) return pods[0]!.name;
  const names = [...new Set(pods.map(workloadName))];
  const [first] = names;
  if (names.length === 1) return first!;
  let length = 0;
  while (length < first!.length && names.every((name) => name[length] === first![length])) length++;
  return first!.slice(0, length).replace(/[-.\d]+$/, '') || `${first} and others`;
}

/** Returns addresses of one family of two different pods of groups; none if there are no such. */
export function addressPair(
  from: readonly PodRecord[],
  to: readonly PodRecord[],
): readonly [client?: string, server?: string] {
  const client = from[0]!;
  const server = from === to ? from[1] : to[0];
  if (!server) return [];
  for (const address of client.addresses) {
    const same = server.addresses.find((each) => familyOf(each) === familyOf(address));
    if (same !== undefined) return [address, same];
  }
  return [];
}

/** Groups whose pods have the same workload are named by their first pods. */
function withUniqueNames(groups: readonly PodGroup[]): readonly PodGroup[] {
  const uses = new Map<string, number>();
  for (const { name } of groups) uses.set(name, (uses.get(name) ?? 0) + 1);
  return groups.map((group) =>
    uses.get(group.name) === 1 ? group : { ...group, name: podName(group.pods[0]!) },
  );
}

/** Returns a function that returns, for a pod, which policies select it and which peers it is. */
function signatures(world: PolicyWorld): (pod: PodRecord) => string {
  const policies = [...world.policies.values()];
  const peers = policies.flatMap((policy) =>
    [...(policy.ingress ?? []), ...(policy.egress ?? [])].flatMap((rule) =>
      (rule.peers ?? []).map((peer) => ({ peer, policy })),
    ),
  );
  return (pod) => {
    const bits = [
      ...policies.map((policy) => world.selects(policy, pod)),
      ...peers.map(({ peer, policy }) => world.isPeer(policy, peer, pod)),
    ];
    return bits.map(Number).join('');
  };
}
