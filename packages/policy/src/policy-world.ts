import type {
  NamespaceRecord,
  NodeRecord,
  ObjectChange,
  ObjectRef,
  PeerRecord,
  PodRecord,
  PolicyInput,
  Selector,
} from '@heddle/objects';
import {
  comparePolicies,
  compareTexts,
  isInBlock,
  type PolicyRecord,
  policyKey,
  unusablePolicy,
} from './policies.ts';
import { matchesLabels } from './selectors.ts';

/** Returns true if pod `a` has an address that pod `b` claims, too: the one that was created last. */
export function hasPrecedence(a: PodRecord, b: PodRecord): boolean {
  if (a.createdMs !== b.createdMs) return a.createdMs > b.createdMs;
  return `${a.namespace}/${a.name}` > `${b.namespace}/${b.name}`;
}

/**
 * All objects that network policies depend on, as records. It answers the simple questions about them, by loops, for
 * `judge`.
 */
export class PolicyWorld {
  readonly namespaces = new Map<string, NamespaceRecord>();
  /** By `namespace/name`. */
  readonly pods = new Map<string, PodRecord>();
  readonly nodes = new Map<string, NodeRecord>();
  /** By key, such as `NetworkPolicy default/web`. */
  readonly policies = new Map<string, PolicyRecord>();
  #podAt: Map<string, PodRecord> | undefined;
  #sorted: readonly PolicyRecord[] | undefined;
  readonly #policiesOf = new Map<PodRecord, readonly PolicyRecord[]>();

  /** Returns the world of these objects. */
  static of(records: Iterable<PolicyInput>): PolicyWorld {
    const world = new PolicyWorld();
    world.apply(Array.from(records, (object) => ({ op: 'set', object })));
    return world;
  }

  /** Applies changes of objects; those of other kinds are ignored. */
  apply(changes: readonly ObjectChange[]): void {
    for (const change of changes) this.#change(change);
    this.#podAt = undefined;
    this.#sorted = undefined;
    this.#policiesOf.clear();
  }

  #change(change: ObjectChange): void {
    const ref: ObjectRef = change.op === 'set' ? change.object : change;
    const [map, key] = this.#place(ref) ?? [];
    if (map === undefined || key === undefined) return;
    if (change.op === 'set') map.set(key, change.object);
    else if (change.op === 'delete') map.delete(key);
    else if (map === this.policies && !map.has(key)) {
      map.set(key, unusablePolicy(ref, change.reason));
    }
  }

  #place(ref: ObjectRef): readonly [Map<string, ObjectRef>, string] | undefined {
    switch (ref.kind) {
      case 'namespace':
        return [this.namespaces, ref.name];
      case 'pod':
        return [this.pods, `${ref.namespace}/${ref.name}`];
      case 'node':
        return [this.nodes, ref.name];
      case 'networkPolicy':
      case 'clusterNetworkPolicy':
        return [this.policies as Map<string, ObjectRef>, policyKey(ref)];
      default:
        return undefined;
    }
  }

  /** Returns the pod that has an address. Of several the one created last has it. */
  podAt(address: string): PodRecord | undefined {
    if (!this.#podAt) {
      this.#podAt = new Map();
      for (const pod of this.pods.values()) {
        for (const each of pod.addresses) {
          const other = this.#podAt.get(each);
          if (!other || hasPrecedence(pod, other)) this.#podAt.set(each, pod);
        }
      }
    }
    return this.#podAt.get(address);
  }

  /** Returns the Nodes that have an address, sorted by name. */
  nodesAt(address: string): readonly NodeRecord[] {
    return [...this.nodes.values()]
      .filter(({ addresses }) => addresses.includes(address))
      .sort((a, b) => compareTexts(a.name, b.name));
  }

  /** Returns true if the selector matches the namespace. It never matches one that is not known. */
  namespaceMatches(selector: Selector, namespace: string): boolean {
    const record = this.namespaces.get(namespace);
    return record !== undefined && matchesLabels(selector, record.labels);
  }

  /** Returns the policies that select a pod, in the order of precedence. */
  policiesOf(pod: PodRecord): readonly PolicyRecord[] {
    const known = this.#policiesOf.get(pod);
    if (known) return known;
    this.#sorted ??= [...this.policies.values()].sort(comparePolicies);
    const policies = this.#sorted.filter((policy) => this.selects(policy, pod));
    this.#policiesOf.set(pod, policies);
    return policies;
  }

  /** Returns true if the pod is a subject of the policy. */
  selects(policy: PolicyRecord, pod: PodRecord): boolean {
    if (policy.kind === 'networkPolicy') {
      return policy.namespace === pod.namespace && matchesLabels(policy.pods, pod.labels);
    }
    const { namespaces, pods } = policy.subject;
    return this.namespaceMatches(namespaces, pod.namespace) && matchesLabels(pods, pod.labels);
  }

  /** Returns true if a pod is a peer of a rule of the policy by its labels, or one of its addresses by its range. */
  isPeer(policy: PolicyRecord, peer: PeerRecord, pod: PodRecord): boolean {
    if (peer.type === 'range') return pod.addresses.some((each) => isInBlock(each, peer));
    if (peer.type !== 'pods' || !matchesLabels(peer.pods, pod.labels)) return false;
    return peer.namespaces === undefined
      ? pod.namespace === policy.namespace
      : this.namespaceMatches(peer.namespaces, pod.namespace);
  }

  /** Returns true if the verdicts of the policy are only recorded. */
  isAudited(policy: PolicyRecord): boolean {
    if (policy.isAudited) return true;
    if (policy.kind !== 'networkPolicy') return false;
    return this.namespaces.get(policy.namespace)?.isAudited ?? false;
  }

  /** Returns true if ClusterNetworkPolicies exist and the pod's namespace, which they select, is not known. */
  isUndecided(pod: PodRecord): boolean {
    if (this.namespaces.has(pod.namespace)) return false;
    return [...this.policies.values()].some(({ kind }) => kind === 'clusterNetworkPolicy');
  }
}
