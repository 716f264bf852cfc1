import type { ManifestObject } from '../node-network-lab.ts';

export type Selector = Readonly<Record<string, unknown>>;

/** Returns a selector of one label. */
export const label = (key: string, value: string): Selector => ({ matchLabels: { [key]: value } });
export const app = (name: string): Selector => label('app', name);
export const team = (name: string): Selector => label('team', name);
/** A selector of everything. */
export const all: Selector = {};

type Direction = 'Ingress' | 'Egress';

/** Returns a NetworkPolicy. Without `policyTypes` it has the directions that it has rules for. */
export function networkPolicy(
  name: `${string}/${string}`,
  spec: {
    readonly podSelector: Selector;
    readonly ingress?: readonly object[];
    readonly egress?: readonly object[];
    readonly policyTypes?: readonly Direction[];
  },
  annotations: Readonly<Record<string, string>> = {},
): ManifestObject {
  const [namespace, own] = name.split('/') as [string, string];
  const types: Direction[] = [
    ...(spec.ingress ? (['Ingress'] as const) : []),
    ...(spec.egress ? (['Egress'] as const) : []),
  ];
  const object = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace, name: own, annotations },
    spec: { policyTypes: types, ...spec },
  };
  return object;
}

/** Returns a ClusterNetworkPolicy. */
export function clusterPolicy(
  name: string,
  spec: {
    readonly tier: 'Admin' | 'Baseline';
    readonly priority?: number;
    readonly subject: object;
    readonly ingress?: readonly object[];
    readonly egress?: readonly object[];
  },
): ManifestObject {
  const object = {
    apiVersion: 'policy.networking.k8s.io/v1alpha2',
    kind: 'ClusterNetworkPolicy',
    metadata: { name },
    spec: { priority: 10, ...spec },
  };
  return object;
}

/** A port of a NetworkPolicy; a name, or a number and perhaps the end of a range. */
export const port = (
  protocol: 'TCP' | 'UDP' | 'SCTP',
  number?: number | string,
  endPort?: number,
) => ({ protocol, ...(number !== undefined && { port: number }), ...(endPort && { endPort }) });
