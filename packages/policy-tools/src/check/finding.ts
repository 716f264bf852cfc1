import type { RuleRecord } from '@heddle/objects';
import type { Direction, PolicyRecord } from '@heddle/policy';
import type { ClusterObjects } from '../cluster.ts';
import type { RawRemarks } from '../raw-remarks.ts';

/** `error`: a part can't be used. `warning`: it probably does not do what is meant. `note`: worth to know. */
export type Severity = 'error' | 'warning' | 'note';

/** The name of a check, which stays the same. */
export type FindingCode =
  | 'unusable'
  | 'unknown-field'
  | 'selects-nothing'
  | 'peer-matches-nothing'
  | 'covers-cluster-ips'
  | 'port-without-protocol'
  | 'no-such-port'
  | 'shadowed'
  | 'redundant'
  | 'dns-cut-off'
  | 'separate-peers';

/** Something about a policy that its author should know. */
export interface Finding {
  readonly severity: Severity;
  readonly code: FindingCode;
  /** The part of the policy: `spec.ingress[0]`; empty for the policy as a whole. */
  readonly at: string;
  /** A sentence with the remedy, where there is one. */
  readonly message: string;
}

/** A policy under examination. */
export interface Subject {
  readonly cluster: ClusterObjects;
  readonly policy: PolicyRecord;
  readonly remarks: RawRemarks | undefined;
}

/** A rule with its place. */
export interface PlacedRule {
  readonly direction: Direction;
  readonly number: number;
  readonly rule: RuleRecord;
}

/** Returns all rules of a policy. */
export function rulesOf(policy: PolicyRecord): readonly PlacedRule[] {
  return (['ingress', 'egress'] as const).flatMap((direction) =>
    (policy[direction] ?? []).map((rule, number) => ({ direction, number, rule })),
  );
}
