import {
  type ClusterNetworkPolicyRecord,
  inRanges,
  type NetworkPolicyRecord,
  type ObjectRef,
  objectLabel,
  type PeerRecord,
} from '@heddle/objects';
import type { Tier } from './rows.ts';

export type PolicyRecord = NetworkPolicyRecord | ClusterNetworkPolicyRecord;

/** Returns the key of a policy: `NetworkPolicy default/web`, `ClusterNetworkPolicy baseline`. */
export function policyKey(ref: ObjectRef): string {
  return objectLabel(ref);
}

export function tierOf(policy: PolicyRecord): Tier {
  return policy.kind === 'networkPolicy' ? 'NetworkPolicy' : policy.tier;
}

export function priorityOf(policy: PolicyRecord): number {
  return policy.kind === 'networkPolicy' ? 0 : policy.priority;
}

export const tiers: readonly Tier[] = ['Admin', 'NetworkPolicy', 'Baseline'];

/** Compares policies by precedence: tier, priority, then the key, so that all nodes have one order. */
export function comparePolicies(a: PolicyRecord, b: PolicyRecord): number {
  const byTier = tiers.indexOf(tierOf(a)) - tiers.indexOf(tierOf(b));
  return byTier || priorityOf(a) - priorityOf(b) || compareTexts(policyKey(a), policyKey(b));
}

/** Returns true if an address in canonical text is in a range of a rule and in none of its exceptions. */
export function isInBlock(
  address: string,
  { range, except }: Extract<PeerRecord, { type: 'range' }>,
): boolean {
  return inRanges([range], address) && !inRanges(except, address);
}

export function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * Returns the policy that is enforced in place of one that never had a usable version. A NetworkPolicy whose pods are not
 * known isolates all pods of its namespace in both directions. A ClusterNetworkPolicy would cut off the whole cluster in
 * this way, so it has no rules.
 */
export function unusablePolicy(ref: ObjectRef, reason: string): PolicyRecord {
  const { namespace, name } = ref;
  const key = policyKey(ref);
  const problems = [reason.startsWith(`${key}: `) ? reason.slice(key.length + 2) : reason];
  return ref.kind === 'networkPolicy'
    ? {
        ...{ kind: 'networkPolicy', namespace, name, pods: [], ingress: [], egress: [] },
        ...{ isAudited: false, problems },
      }
    : {
        ...{ kind: 'clusterNetworkPolicy', namespace, name, tier: 'Admin', priority: 0 },
        subject: { namespaces: [], pods: [] },
        ...{ ingress: [], egress: [], isAudited: false, problems },
      };
}
