import type { DenyResponse, Protocol } from '@heddle/objects';

/** The tiers, in the order in which they decide. A NetworkPolicy has the tier of the same name. */
export type Tier = 'Admin' | 'NetworkPolicy' | 'Baseline';
export type Direction = 'egress' | 'ingress';
/** `pass` ends the search in the tier Admin; the next tiers decide. */
export type RuleAction = 'allow' | 'deny' | 'pass';

/** Ports of a protocol, both ends included. */
export interface PortRange {
  readonly protocol: Protocol;
  /** Host order. */
  readonly first: number;
  readonly last: number;
}

/**
 * A rule of a policy in one direction. It is immutable and known by its identity: a changed policy has new rules.
 * A rule with a named port has an instance for each number that the name stands for, because the name belongs to
 * the destination pod.
 */
export interface PolicyRule {
  /** The key of its policy. */
  readonly policy: string;
  readonly tier: Tier;
  readonly direction: Direction;
  /** The position in the list of the policy, from 0. */
  readonly number: number;
  /** The name that a rule of a ClusterNetworkPolicy may have. */
  readonly name: string;
  readonly action: RuleAction;
  /** The response to what the rule denies, if it is not that of the agent. */
  readonly denyResponse?: DenyResponse;
  /** The policy is in audit mode, so that what the rule denies is recorded only. */
  readonly isAudited?: true;
  /** True if the rule names no peers and so matches all. It is then in no class. */
  readonly anyPeer: boolean;
  /** Undefined: all ports of all protocols, and protocols without ports. */
  readonly ports: readonly PortRange[] | undefined;
  /** Names of hosts that are peers, in lower case, `*.example.com` for all below. Egress only. */
  readonly domainNames: readonly string[];
}

/** A policy that applies to a pod of this node. */
export interface PolicyRow {
  /** `NetworkPolicy default/web` or `ClusterNetworkPolicy baseline`. */
  readonly key: string;
  readonly tier: Tier;
  /** Lower values come first; 0 for NetworkPolicies. */
  readonly priority: number;
  /** In the order of precedence. */
  readonly rules: readonly PolicyRule[];
  /** Verdicts are recorded, and nothing is dropped. */
  readonly isAudited: boolean;
  /** Sentences about parts that can't be used. */
  readonly problems: readonly string[];
}

/** The rules that select a pod in one direction. Pods with the same rules share one object. */
export interface Subject {
  readonly direction: Direction;
  /** All rules of the enforced policies that select the pod, each of this direction. */
  readonly rules: readonly PolicyRule[];
  /** NetworkPolicies select the pod, so what none of their rules allows is denied. */
  readonly isIsolated: boolean;
  /** The response to what no rule allows, if it is not that of the agent. */
  readonly denyResponse?: DenyResponse;
  /** The same with the policies in audit mode; undefined if none of these has a rule for the pod or isolates it. */
  readonly audited: Omit<Subject, 'audited' | 'direction'> | undefined;
}

/**
 * A pod of this node, and the subjects of both directions; undefined without policies. Each pod of this node with an
 * address of its own has one, also before it has the address, because its interface waits for it.
 */
export interface PodSubjects {
  /** `namespace/name`. */
  readonly pod: string;
  /** `metadata.uid`, which differs from that of an earlier pod of the same name; empty if the object has none. */
  readonly uid: string;
  readonly addresses: readonly string[];
  readonly egress: Subject | undefined;
  readonly ingress: Subject | undefined;
}

/**
 * A change of classes of peers. A class is a set of rules, and addresses that are peers of exactly these. The rules of
 * wider ranges are contained in the classes of narrower ones and of addresses, so that the longest prefix has them all.
 */
export interface PeerChanges {
  /** New classes by number. Numbers are never reused. */
  readonly created: ReadonlyMap<number, ReadonlySet<PolicyRule>>;
  /** Rules that classes have gained. All of them are new in this update, so no subject has them yet. */
  readonly gained: ReadonlyMap<number, readonly PolicyRule[]>;
  /** Rules that classes have lost. All of them are removed in this update. */
  readonly lost: ReadonlyMap<number, readonly PolicyRule[]>;
  /** The class of an address or range, as canonical text (`192.0.2.1/32`, `2001:db8::/32`), or undefined if it has none any more. */
  readonly assigned: ReadonlyMap<string, number | undefined>;
  /** Classes that no address has any more. */
  readonly removed: readonly number[];
}

/** The effect of a batch of changes of objects. Updates lead, in order, from one state to the next. */
export interface PolicyUpdate {
  readonly policies: {
    readonly upserted: readonly PolicyRow[];
    readonly removed: readonly string[];
  };
  /** Rules that are new, and rules that no policy has any more. */
  readonly rules: {
    readonly added: readonly PolicyRule[];
    readonly removed: readonly PolicyRule[];
  };
  readonly peers: PeerChanges;
  /** Pods of this node whose subjects have changed, and pods that are gone. */
  readonly subjects: {
    readonly upserted: readonly PodSubjects[];
    readonly removed: readonly string[];
  };
}

/** The pods that the model needs to know, besides those of this node. */
export type PodDemand = 'all' | ReadonlySet<string>;
