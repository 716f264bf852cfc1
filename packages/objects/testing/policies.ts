// Makes objects of network policies for tests from a few arguments. Field names are those of the API.

type Fields = Readonly<Record<string, unknown>>;

/** Returns a Namespace. */
export function namespace(name: string, labels?: Fields, annotations?: Fields) {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels, annotations } };
}

interface PolicyFields extends Fields {
  readonly namespace?: string;
  readonly annotations?: Fields;
}

/** Returns a NetworkPolicy. Fields other than metadata go into `spec`. By default it selects all pods. */
export function networkPolicy(name: string, more: PolicyFields = {}) {
  const { namespace = 'default', annotations, ...spec } = more;
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name, namespace, annotations },
    spec: { podSelector: {}, ...spec },
  };
}

/**
 * Returns a ClusterNetworkPolicy. Fields other than annotations go into `spec`. By default it is one of the tier
 * Admin with the priority 10, and applies to all pods.
 */
export function clusterNetworkPolicy(name: string, more: PolicyFields = {}) {
  const { annotations, ...spec } = more;
  return {
    apiVersion: 'policy.networking.k8s.io/v1alpha2',
    kind: 'ClusterNetworkPolicy',
    metadata: { name, annotations },
    spec: { tier: 'Admin', priority: 10, subject: { namespaces: {} }, ...spec },
  };
}
