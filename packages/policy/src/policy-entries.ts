import type { ActivePolicy } from './active-policy.ts';
import type { Group } from './groups.ts';
import type { PolicyRecord } from './policies.ts';
import { matchesLabels } from './selectors.ts';

/** A policy in one version. */
export interface PolicyEntry {
  readonly key: string;
  readonly record: PolicyRecord;
  /** The reason why the newest version can't be used. */
  problem: string | undefined;
  /** The groups of pods of this node that it selects. */
  readonly selects: Set<Group>;
  active: ActivePolicy | undefined;
}

/** All policies, by their keys and by the namespaces whose pods they may select. */
export class PolicyEntries {
  readonly #byKey = new Map<string, PolicyEntry>();
  readonly #byNamespace = new Map<string, Set<PolicyEntry>>();
  readonly #ofCluster = new Set<PolicyEntry>();

  get size(): number {
    return this.#byKey.size;
  }

  get(key: string): PolicyEntry | undefined {
    return this.#byKey.get(key);
  }

  all(): Iterable<PolicyEntry> {
    return this.#byKey.values();
  }

  /** The ClusterNetworkPolicies. */
  get ofCluster(): ReadonlySet<PolicyEntry> {
    return this.#ofCluster;
  }

  /** Returns the NetworkPolicies of a namespace. */
  inNamespace(name: string): Iterable<PolicyEntry> {
    return this.#byNamespace.get(name) ?? [];
  }

  /** Adds a policy. The version before it, if there is one, stays in the other lists until it is removed. */
  add(entry: PolicyEntry): void {
    const { key, record } = entry;
    this.#byKey.set(key, entry);
    if (record.kind === 'clusterNetworkPolicy') this.#ofCluster.add(entry);
    else {
      const known = this.#byNamespace.get(record.namespace);
      if (known) known.add(entry);
      else this.#byNamespace.set(record.namespace, new Set([entry]));
    }
  }

  /** Removes a version of a policy; a newer one stays. */
  remove(entry: PolicyEntry): void {
    const { key, record } = entry;
    if (this.#byKey.get(key) === entry) this.#byKey.delete(key);
    if (record.kind === 'clusterNetworkPolicy') this.#ofCluster.delete(entry);
    else {
      const siblings = this.#byNamespace.get(record.namespace)!;
      siblings.delete(entry);
      if (siblings.size === 0) this.#byNamespace.delete(record.namespace);
    }
  }
}

/** Returns true if a policy selects the pods of a group. */
export function selects(policy: PolicyRecord, { place, labels }: Group): boolean {
  if (policy.kind === 'networkPolicy') {
    return policy.namespace === place.name && matchesLabels(policy.pods, labels);
  }
  const { namespaces, pods } = policy.subject;
  if (!place.record || !matchesLabels(namespaces, place.record.labels)) return false;
  return matchesLabels(pods, labels);
}
