import { createHash } from 'node:crypto';

/** The identities of ends that are no pods, as clients of Hubble name them. */
export const reservedIdentity = {
  unknown: 0,
  host: 1,
  world: 2,
  unmanaged: 3,
  health: 4,
  init: 5,
  remoteNode: 6,
  kubeApiserver: 7,
  ingress: 8,
  worldIpv4: 9,
  worldIpv6: 10,
} as const;

/** Identities of pods have 24 bits; those below 256 are reserved. */
const first = 256;
const count = (1 << 24) - first;

/**
 * Returns the identity of pods with these labels: a number that depends on nothing else, so it is the same
 * on each node and after each restart. Pods with different labels have the same number in rare cases (of
 * 5,000 sets of labels some two have an equal), so it only identifies; nothing decides by it.
 */
export function identityOf(labels: readonly string[]): number {
  const digest = createHash('sha256')
    .update([...labels].sort().join('\n'))
    .digest();
  return first + (digest.readUInt32BE(0) % count);
}

/** Prefixes of labels that say nothing about what a pod is, as Hubble's other source leaves them out, too. */
const irrelevant = [
  'io.kubernetes',
  'kubernetes.io',
  'statefulset.kubernetes.io/pod-name',
  'apps.kubernetes.io/pod-index',
  'batch.kubernetes.io/job-completion-index',
  'batch.kubernetes.io/controller-uid',
  'k8s.io',
  'pod-template-generation',
  'pod-template-hash',
  'controller-revision-hash',
  'annotation.',
  'controller-uid',
  'etcd_node',
];
const beta = 'beta.kubernetes.io';

/**
 * Returns the labels by which clients of Hubble know a pod, sorted: those that its replicas share, and that of its namespace.
 * `labels` are keys and values in turn.
 */
export function identityLabels(namespace: string, labels: readonly string[]): string[] {
  const relevant: string[] = [`k8s:io.kubernetes.pod.namespace=${namespace}`];
  for (let i = 0; i + 1 < labels.length; i += 2) {
    const key = labels[i]!;
    if (key.includes(beta) || irrelevant.some((prefix) => key.startsWith(prefix))) continue;
    relevant.push(`k8s:${key}=${labels[i + 1]!}`);
  }
  return relevant.sort();
}
