import * as v from 'valibot';
import { choice, labelMap, list, metadata, range, struct, text } from './schema.ts';

// Schemas of the API objects that network policies are made of. They check types only: a value that a later API
// version may allow, such as another protocol, must not make the object invalid, because then nothing would be
// enforced. The readers turn such values into something closed.

const selector = struct({
  matchLabels: labelMap,
  matchExpressions: list(struct({ key: text, operator: text, values: list(text) })),
});
const maybe = v.nullish(selector);
const number = v.nullish(v.number('must be a number'));

export const namespaceSchema = struct({
  metadata: struct({ ...metadata.entries, labels: labelMap }),
});

const networkPeers = list(
  struct({
    podSelector: maybe,
    namespaceSelector: maybe,
    ipBlock: v.nullish(struct({ cidr: v.nullish(text, ''), except: list(text) })),
  }),
);
const networkPorts = list(
  struct({
    protocol: v.nullish(text, 'TCP'),
    port: v.nullish(v.union([v.number(), v.string()], 'must be a number or a name')),
    endPort: number,
  }),
);

export const networkPolicySchema = struct({
  metadata,
  spec: struct({
    podSelector: maybe,
    policyTypes: list(text),
    ingress: list(struct({ from: networkPeers, ports: networkPorts })),
    egress: list(struct({ to: networkPeers, ports: networkPorts })),
  }),
});

const namespacedPods = v.nullish(struct({ namespaceSelector: maybe, podSelector: maybe }));
const ingressPeer = { namespaces: maybe, pods: namespacedPods };
const egressPeer = { ...ingressPeer, nodes: maybe, networks: list(text), domainNames: list(text) };
const destination = v.nullish(
  struct({
    destinationPort: v.nullish(
      struct({ number, range: v.nullish(struct({ start: number, end: number })) }),
    ),
  }),
);
const clusterRule = {
  name: v.nullish(text, ''),
  action: v.nullish(text, ''),
  protocols: list(
    struct({
      ...{ tcp: destination, udp: destination, sctp: destination },
      destinationNamedPort: v.nullish(text, ''),
    }),
  ),
};

export const clusterNetworkPolicySchema = struct({
  metadata,
  spec: struct({
    tier: choice('Admin', 'Baseline'),
    priority: range(0, 1000),
    subject: v.nullish(struct(ingressPeer)),
    ingress: list(struct({ ...clusterRule, from: list(struct(ingressPeer)) })),
    egress: list(struct({ ...clusterRule, to: list(struct(egressPeer)) })),
  }),
});

export type SelectorObject = v.InferOutput<typeof selector>;
export type NamespaceObject = v.InferOutput<typeof namespaceSchema>;
export type NetworkPolicyObject = v.InferOutput<typeof networkPolicySchema>;
export type ClusterNetworkPolicyObject = v.InferOutput<typeof clusterNetworkPolicySchema>;
