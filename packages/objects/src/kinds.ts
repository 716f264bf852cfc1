import { checkShape } from './check-shape.ts';
import {
  clusterNetworkPolicyFields,
  namespaceFields,
  networkPolicyFields,
  nodeFields,
  podFields,
  serviceFields,
  sliceFields,
} from './fields.ts';
import { ownText } from './memory.ts';
import { type Kind, ObjectReader, type ReadObject } from './object-reader.ts';
import type {
  ClusterNetworkPolicyRecord,
  NamespaceRecord,
  NetworkPolicyRecord,
} from './policy-records.ts';
import {
  clusterNetworkPolicySchema,
  namespaceSchema,
  networkPolicySchema,
} from './policy-schema.ts';
import { readClusterNetworkPolicy } from './read-cluster-network-policy.ts';
import { readNamespace } from './read-namespace.ts';
import { readNetworkPolicy } from './read-network-policy.ts';
import { readNode } from './read-node.ts';
import { readPod } from './read-pod.ts';
import { readService } from './read-service.ts';
import { readSlice } from './read-slice.ts';
import type {
  NodeRecord,
  ObjectRef,
  PodRecord,
  ServiceInput,
  ServiceRecord,
  SliceRecord,
} from './records.ts';
import { nodeSchema, podSchema, serviceNameLabel, serviceSchema, sliceSchema } from './schema.ts';

export const serviceKind: Kind<ServiceRecord> = {
  ...{ name: 'service', apiVersion: 'v1', kind: 'Service' },
  ...{ isNamespaced: true, path: '/api/v1/services', fields: serviceFields },
  read: (value) => ({ kind: 'record', record: readService(checkShape(serviceSchema, value)) }),
};

export const sliceKind: Kind<SliceRecord> = {
  ...{ name: 'slice', apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice' },
  ...{ isNamespaced: true, path: '/apis/discovery.k8s.io/v1/endpointslices', fields: sliceFields },
  read: (value) => readSlice(checkShape(sliceSchema, value)),
  refine(ref, { labels }) {
    const service = (labels as { readonly [name: string]: unknown } | null)?.[serviceNameLabel];
    return typeof service === 'string' ? { ...ref, service: ownText(service) } : ref;
  },
};

export const nodeKind: Kind<NodeRecord> = {
  ...{ name: 'node', apiVersion: 'v1', kind: 'Node' },
  ...{ isNamespaced: false, path: '/api/v1/nodes', fields: nodeFields, skipUnchanged: true },
  read: (value) => ({ kind: 'record', record: readNode(checkShape(nodeSchema, value)) }),
};

export const podKind: Kind<PodRecord> = {
  ...{ name: 'pod', apiVersion: 'v1', kind: 'Pod' },
  ...{ isNamespaced: true, path: '/api/v1/pods', fields: podFields },
  read: (value) => readPod(checkShape(podSchema, value)),
};

export const namespaceKind: Kind<NamespaceRecord> = {
  ...{ name: 'namespace', apiVersion: 'v1', kind: 'Namespace' },
  ...{ isNamespaced: false, path: '/api/v1/namespaces', fields: namespaceFields },
  skipUnchanged: true,
  read: (value) => ({ kind: 'record', record: readNamespace(checkShape(namespaceSchema, value)) }),
};

export const networkPolicyKind: Kind<NetworkPolicyRecord> = {
  ...{ name: 'networkPolicy', apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
  ...{ isNamespaced: true, path: '/apis/networking.k8s.io/v1/networkpolicies' },
  ...{ fields: networkPolicyFields, skipUnchanged: true },
  read: (value) => ({
    kind: 'record',
    record: readNetworkPolicy(checkShape(networkPolicySchema, value)),
  }),
};

export const clusterNetworkPolicyKind: Kind<ClusterNetworkPolicyRecord> = {
  name: 'clusterNetworkPolicy',
  ...{ apiVersion: 'policy.networking.k8s.io/v1alpha2', kind: 'ClusterNetworkPolicy' },
  isNamespaced: false,
  path: '/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies',
  ...{ fields: clusterNetworkPolicyFields, skipUnchanged: true },
  read: (value) => ({
    kind: 'record',
    record: readClusterNetworkPolicy(checkShape(clusterNetworkPolicySchema, value)),
  }),
};

/** The records that network policies are made of. */
export type PolicyInput =
  | NamespaceRecord
  | NetworkPolicyRecord
  | ClusterNetworkPolicyRecord
  | NodeRecord
  | PodRecord;

/** Reads the kinds that network policies depend on. */
export const policyReader = new ObjectReader<PolicyInput>([
  namespaceKind,
  networkPolicyKind,
  clusterNetworkPolicyKind,
  nodeKind,
  podKind,
]);

/** Reads the kinds that service rows depend on. */
export const serviceReader = new ObjectReader<ServiceInput>([
  serviceKind,
  sliceKind,
  nodeKind,
  podKind,
]);

/** Reads one object of these kinds; see ObjectReader. */
export function readObject(value: unknown): ReadObject<ServiceInput> {
  return serviceReader.read(value);
}

/** Reads one object of these kinds or a list; see ObjectReader. */
export function readObjects(value: unknown): readonly ReadObject<ServiceInput>[] {
  return serviceReader.readAll(value);
}

const labels = new ObjectReader<ServiceInput | PolicyInput>([
  ...new Set<Kind<ServiceInput | PolicyInput>>([...serviceReader.kinds, ...policyReader.kinds]),
]);

/** Returns the name of an object in messages: `Service default/web`, `Node worker-1`. */
export function objectLabel(ref: ObjectRef): string {
  return labels.label(ref);
}
