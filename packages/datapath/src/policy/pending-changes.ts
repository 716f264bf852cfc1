import type { PolicyRule, Tier } from '@heddle/policy';
import type { PeerKey } from './peer-entries.ts';

/** The changes that were taken and are not programmed yet. */
export interface PendingChanges {
  readonly added: Set<PolicyRule>;
  readonly removed: PolicyRule[];
  readonly tiers: Set<Tier>;
  readonly assigned: Map<PeerKey, number | undefined>;
  readonly forgotten: number[];
  readonly pods: Set<string>;
  /** All pods are to be looked at. */
  allPods: boolean;
  /** The policies that have failed are to be tried again. */
  retries: boolean;
  /** Something is gone, so that there may be room soon. */
  makesRoom: boolean;
}

export function newPending(): PendingChanges {
  return {
    added: new Set(),
    removed: [],
    tiers: new Set(),
    assigned: new Map(),
    forgotten: [],
    pods: new Set(),
    allPods: false,
    retries: false,
    makesRoom: false,
  };
}

/** Returns true if there is nothing to program. */
export function isEmpty(pending: PendingChanges): boolean {
  const { added, removed, tiers, assigned, forgotten, pods, allPods, retries } = pending;
  const sizes = added.size + tiers.size + assigned.size + pods.size;
  return sizes + removed.length + forgotten.length === 0 && !allPods && !retries;
}
