import type { WrittenObject } from '@heddle/kube/testing/object-store';
import { backendPort } from '../catalog.ts';

// The objects of a cluster with network policies. The measured pods are in the namespace `default` of
// the first node; a hundred policies select them, and each of these names other pods as peers.

/** The numbers of policies and of peers that the policies name. */
export interface PolicyScale {
  readonly policies: number;
  readonly peers: number;
}

/** A pod of the first node, which policies select. */
export interface MeasuredPod {
  readonly name: string;
  readonly address: string;
}

/** The number of policies that select the measured pods. */
export const localPolicies = 100;
const measuredNamespace = 'default';
const peersPerNamespace = 2_000;
/** The policy that allows the measured connections: half of the policies come before it. */
const allowing = localPolicies / 2;
const firstPeer = (10 << 24) | (128 << 16);

/** The numbers of peers at each number of policies. */
export function scaleOf(policies: number): PolicyScale {
  return { policies, peers: policies * 20 };
}

/** Returns the namespaces, pods and policies that an API server has. */
export function policyObjects(
  scale: PolicyScale,
  measured: readonly MeasuredPod[],
): WrittenObject[] {
  const namespaces = Array.from({ length: namespaceCount(scale) }, (_, n) => namespaceName(n));
  return [
    ...[measuredNamespace, ...namespaces].map(namespaceObject),
    ...measured.map((pod) => measuredPod(pod)),
    ...Array.from({ length: scale.peers }, (_, n) => peerPod(n)),
    ...Array.from({ length: scale.policies }, (_, n) => networkPolicy(n)),
  ];
}

/** Returns the n-th peer; another `app` makes it a peer of another policy. */
export function peerPod(n: number, app = n % localPolicies): WrittenObject {
  const pod = { name: `peer-${n}`, address: peerAddress(n) };
  return podObject(peerNamespace(n), pod, 'node2', { app: `app-${app}` });
}

/** Returns the n-th policy; those after the first hundred select pods of other nodes only. */
export function networkPolicy(n: number, port = portOf(n)): WrittenObject {
  const app = n === allowing ? 'measured' : `app-${n % localPolicies}`;
  const peer = {
    podSelector: { matchLabels: { app } },
    ...(n !== allowing && { namespaceSelector: { matchLabels: { team: 'peers' } } }),
  };
  const ports = [{ protocol: 'TCP', port }];
  return {
    ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
    metadata: {
      namespace: n < localPolicies ? measuredNamespace : peerNamespace(n),
      name: `policy-${n}`,
    },
    spec: {
      podSelector: {},
      policyTypes: ['Ingress', 'Egress'],
      ingress: [{ from: [peer], ports }],
      egress: [{ to: [peer], ports }],
    },
  };
}

/** Returns the addresses of the peers that the n-th policy names. */
export function peersOf(n: number, scale: PolicyScale, measured: readonly MeasuredPod[]): string[] {
  if (n === allowing) return measured.map(({ address }) => address);
  const numbers = Array.from({ length: Math.floor(scale.peers / localPolicies) }, (_, i) => i);
  return numbers.map((i) => peerAddress(i * localPolicies + n));
}

/** Returns the port that the n-th policy allows. */
export function portOf(n: number): number {
  return n === allowing ? backendPort : 10_000 + n;
}

/** Returns a Pod of the measured node. */
export function measuredPod(pod: MeasuredPod): WrittenObject {
  return podObject(measuredNamespace, pod, 'node1', { app: 'measured' });
}

/** Returns the n-th address of peers: 10.128.0.0/9, outside of the nodes' own ranges. */
function peerAddress(n: number): string {
  const address = firstPeer + n + 1;
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
}

function namespaceCount({ peers }: PolicyScale): number {
  return Math.ceil(peers / peersPerNamespace);
}

function peerNamespace(n: number): string {
  return namespaceName(Math.floor(n / peersPerNamespace));
}

function namespaceName(n: number): string {
  return `team-${n}`;
}

function namespaceObject(name: string): WrittenObject {
  const labels = { 'kubernetes.io/metadata.name': name, team: 'peers' };
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
}

function podObject(
  namespace: string,
  { name, address }: MeasuredPod,
  nodeName: string,
  labels: Readonly<Record<string, string>>,
): WrittenObject {
  return {
    ...{ apiVersion: 'v1', kind: 'Pod' },
    // The lab's plug-in names a pod's UID by its name.
    metadata: { namespace, name, labels, uid: name },
    spec: { nodeName, containers: [{ name: 'main' }] },
    status: { phase: 'Running', podIP: address, podIPs: [{ ip: address }] },
  };
}
