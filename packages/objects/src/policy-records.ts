import type { DenyResponse } from './annotations.ts';
import type { Labels } from './labels.ts';
import type { ObjectRef, Protocol } from './records.ts';

// The records of network policies. Readers turn a part that they do not understand into one that never lets more
// traffic pass than its author meant, and add a sentence to `problems`. So a model of these records
// needs no rule of its own about unknown parts.

/** A condition on one label. `values` is empty for Exists and DoesNotExist. */
export interface Requirement {
  readonly key: string;
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
  readonly values: readonly string[];
}

/** A label selector: all requirements must hold. An empty one matches everything. */
export type Selector = readonly Requirement[];

export interface NamespaceRecord extends ObjectRef {
  readonly kind: 'namespace';
  /** With kubernetes.io/metadata.name, which the API server sets. */
  readonly labels: Labels;
  /** The annotation heddle.io/policy-mode is `audit`, for all NetworkPolicies of the namespace. */
  readonly isAudited: boolean;
  /** The annotation heddle.io/policy-deny-response, for all NetworkPolicies of the namespace without one. */
  readonly denyResponse?: DenyResponse;
  /** Sentences about annotations that can't be used. */
  readonly problems: readonly string[];
}

/** The peers of a rule. Pods with the host's network are never peers of the type `pods`. */
export type PeerRecord =
  | {
      readonly type: 'pods';
      /** Undefined: the namespace of the policy. */
      readonly namespaces: Selector | undefined;
      readonly pods: Selector;
    }
  | {
      /** Addresses within a range, also those of pods and nodes, but not those within an exception. */
      readonly type: 'range';
      /** Canonical text. */
      readonly range: string;
      readonly except: readonly string[];
    }
  /** Addresses of Nodes. Egress only. */
  | { readonly type: 'nodes'; readonly nodes: Selector }
  /** Lower case without a final dot; `*.example.com` for all names below. Egress only. */
  | { readonly type: 'domain'; readonly name: string };

/** Ports of a rule. */
export type PortRecord =
  | {
      readonly type: 'numbers';
      readonly protocol: Protocol;
      /** Both included, host order; 0 and 65535 for all ports of the protocol. */
      readonly first: number;
      readonly last: number;
    }
  | {
      /** The ports that the destination pod names so. */
      readonly type: 'name';
      /** Undefined: the protocol of the pod's port. */
      readonly protocol: Protocol | undefined;
      readonly name: string;
    };

export interface RuleRecord {
  /** Empty without one; rules of NetworkPolicies have none. */
  readonly name: string;
  readonly action: 'allow' | 'deny' | 'pass';
  /** Undefined: all peers. An empty list matches nothing. */
  readonly peers: readonly PeerRecord[] | undefined;
  /** Undefined: all protocols and ports. An empty list matches nothing. */
  readonly ports: readonly PortRecord[] | undefined;
}

export interface NetworkPolicyRecord extends ObjectRef {
  readonly kind: 'networkPolicy';
  /** The pods of its namespace to which the policy applies. */
  readonly pods: Selector;
  /** The rules, which all allow; undefined if the policy does not isolate pods in this direction. */
  readonly ingress: readonly RuleRecord[] | undefined;
  readonly egress: readonly RuleRecord[] | undefined;
  /** The annotation heddle.io/policy-mode is `audit`. */
  readonly isAudited: boolean;
  /** The annotation heddle.io/policy-deny-response. */
  readonly denyResponse?: DenyResponse;
  /** Sentences about parts that can't be used: field, value, remedy and consequence. */
  readonly problems: readonly string[];
}

export interface ClusterNetworkPolicyRecord extends ObjectRef {
  readonly kind: 'clusterNetworkPolicy';
  readonly tier: 'Admin' | 'Baseline';
  /** 0 to 1000; lower values come first. */
  readonly priority: number;
  /** The pods to which the policy applies. */
  readonly subject: { readonly namespaces: Selector; readonly pods: Selector };
  /** In the order of precedence. */
  readonly ingress: readonly RuleRecord[];
  readonly egress: readonly RuleRecord[];
  /** The annotation heddle.io/policy-mode is `audit`. */
  readonly isAudited: boolean;
  /** The annotation heddle.io/policy-deny-response. */
  readonly denyResponse?: DenyResponse;
  /** Sentences about parts that can't be used: field, value, remedy and consequence. */
  readonly problems: readonly string[];
}
