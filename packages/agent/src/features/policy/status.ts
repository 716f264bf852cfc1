import type { Direction, RuleAction, Tier } from '@heddle/policy';
import type { RowState, VerdictRule } from '../../status.ts';

// The answers about network policies. The shapes are stable: fields are added, not changed.

/** The fields of AgentStatus that network policies add. */
export interface PolicyStatus {
  /** Absent where network policies are off. */
  readonly policies?: {
    /** The policies that select a pod of this node. */
    readonly count: number;
    /** Their rules. */
    readonly rules: number;
    /** The classes of peers. */
    readonly classes: number;
    /** The addresses and ranges that are peers. */
    readonly peers: number;
    /** The pods of this node that policies select, and those that are closed. */
    readonly pods: { readonly selected: number; readonly closed: number };
    /** The namespaces whose pods are watched, besides the pods of this node, or `all`. */
    readonly watched: number | 'all';
    /** Connections that were denied since the agent's start. */
    readonly denied: { readonly byRules: number; readonly byDefault: number };
    /** Connections that policies in audit mode would have denied since the agent's start. */
    readonly wouldDeny: { readonly byRules: number; readonly byDefault: number };
  };
}

/** A policy that selects a pod of this node, as `policy.list` returns it. */
export interface PolicyEntry extends RowState {
  /** `NetworkPolicy default/web` or `ClusterNetworkPolicy baseline`. */
  readonly policy: string;
  readonly tier: Tier;
  readonly priority: number;
  /** Its verdicts are recorded, and nothing is dropped. */
  readonly audited: boolean;
  /** The number of its rules; each number of a named port is a rule of its own. */
  readonly rules: number;
  /** The number of the pods of this node that it selects. */
  readonly pods: number;
  /** The connections that its rules have decided. */
  readonly connections: number;
  /** The parts that cannot be used, in sentences. */
  readonly problems: readonly string[];
}

/** A rule, as `policy.rules` and `policy.get` return it. */
export interface PolicyRuleEntry {
  /** The number by which verdicts name it; absent if it is not programmed. */
  readonly number?: number;
  readonly policy: string;
  readonly tier: Tier;
  readonly direction: Direction;
  /** The position in the list of the policy, from 0. */
  readonly rule: number;
  /** The name that it may have in a ClusterNetworkPolicy. */
  readonly name?: string;
  readonly action: RuleAction;
  /** True if it names no peers. */
  readonly anyPeer: boolean;
  /** `TCP 80`, `UDP 5000-5010`; absent for all ports of all protocols. */
  readonly ports?: readonly string[];
  /** The names of hosts that are peers. */
  readonly domainNames?: readonly string[];
  /** The connections that it has decided. */
  readonly connections: number;
}

/** A policy with its rules and pods, as `policy.get` returns it. */
export interface PolicyDetail extends PolicyEntry {
  readonly ruleList: readonly PolicyRuleEntry[];
  /** The names (`namespace/name`) of the pods of this node that it selects. */
  readonly podList: readonly string[];
}

/** A rule that would allow a connection that is denied, but for its port or its peer. */
export interface NearRule extends VerdictRule {
  readonly differs: 'port' | 'peer';
}

/** The reasons why no rule allows a connection in one direction, as `policy.explain` returns them. */
export interface DenialReasons {
  /** The policies that isolate the pod, e.g. `NetworkPolicy default/web`. */
  readonly isolatedBy: readonly string[];
  /** At most three rules, those that differ in the port first. */
  readonly nearest: readonly NearRule[];
}

/** A verdict about a connection, as `policy.verdicts` returns it. Ports are 0 where the protocol has none. */
export interface VerdictEntry {
  readonly outcome: 'allowed' | 'denied' | 'would-deny';
  /** The direction that denied it; absent for an allowed one. */
  readonly direction?: Direction;
  readonly protocol: string;
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  /** The names (`namespace/name`) of the pods at both ends, as far as they are of this node. */
  readonly sourcePod?: string;
  readonly destinationPod?: string;
  /** The rules that decided; absent in a direction without policies, and where a connection is denied by default. */
  readonly egressRule?: VerdictRule;
  readonly ingressRule?: VerdictRule;
}
