import {
  type DenyResponse,
  denyResponses,
  type NamespaceRecord,
  type NodeRecord,
  type ObjectChange,
  type ObjectRef,
  objectLabel,
  type PodRecord,
  type PolicyInput,
} from '@heddle/objects';
import { ActivePolicy, type RuleRegistry } from './active-policy.ts';
import { AddressIndex } from './address-index.ts';
import type { Group, PodEntry } from './groups.ts';
import { MemberTable } from './member-table.ts';
import { ClassAllocator } from './peer-classes.ts';
import { PeerIndex } from './peer-index.ts';
import { type PolicyRecord, policyKey, priorityOf, tierOf, unusablePolicy } from './policies.ts';
import { PolicyEntries, type PolicyEntry, selects } from './policy-entries.ts';
import type {
  Direction,
  PodDemand,
  PodSubjects,
  PolicyRow,
  PolicyUpdate,
  Subject,
} from './rows.ts';
import { type ModelRule, RuleSets } from './rule-sets.ts';
import { SubjectTable } from './subject-table.ts';

/** A group with pods of this node. */
interface LocalGroup {
  readonly policies: Set<PolicyEntry>;
  egress: Subject | undefined;
  ingress: Subject | undefined;
}

/** The changes that an update has made so far. */
class Changes {
  readonly addedRules = new Set<ModelRule>();
  readonly removedRules = new Set<ModelRule>();
  /** The keys of policies whose row may have changed. */
  readonly policies = new Set<string>();
  /** Groups whose subjects may have changed. */
  readonly groups = new Set<Group>();
  /** Pods of this node that are new or have other addresses. */
  readonly pods = new Set<PodEntry>();
  readonly removedPods = new Set<string>();
}

/**
 * The network policies of one node: from the records of policies, Namespaces, Pods and Nodes to the rules, classes of
 * peers and subjects that the node needs. The state depends only on the present objects, never on the order of their
 * changes. A change costs work for what it concerns: see the README.
 */
export class PolicyModel {
  readonly #sets = new RuleSets();
  readonly #addresses = new AddressIndex(this.#sets);
  readonly #peers = new PeerIndex(this.#sets, this.#addresses);
  readonly #classes = new ClassAllocator(this.#sets);
  readonly #subjects = new SubjectTable();
  readonly #members: MemberTable;
  readonly #policies = new PolicyEntries();
  readonly #locals = new Map<Group, LocalGroup>();
  /** The keys of the pods and of the policies that updates have reported. */
  readonly #reported = { pods: new Set<string>(), policies: new Set<string>() };
  #changes = new Changes();
  #lastRule = 0;
  #demand: PodDemand = new Set();

  readonly #registry: RuleRegistry = {
    add: (fields) => {
      const rule: ModelRule = { ...fields, id: ++this.#lastRule };
      this.#changes.addedRules.add(rule);
      return rule;
    },
    remove: (rule) => {
      if (!this.#changes.addedRules.delete(rule)) this.#changes.removedRules.add(rule);
    },
  };

  /** `nodeName`: the name of this node's Node. */
  constructor({ nodeName }: { readonly nodeName: string }) {
    this.#members = new MemberTable(nodeName, this.#peers, this.#addresses);
  }

  /**
   * The namespaces whose pods the model needs to know besides the pods of this node, or `all`. It is the same object as long as the
   * content is the same.
   */
  get demand(): PodDemand {
    return this.#demand;
  }

  /** Returns figures for status and metrics. */
  get sizes() {
    return {
      policies: this.#policies.size,
      pods: this.#members.size,
      addresses: this.#addresses.size,
      classes: this.#classes.size,
      subjects: this.#subjects.size,
    };
  }

  /** Returns all records that the model has, for PolicyWorld. */
  *records(): Generator<PolicyInput> {
    yield* this.#members.pods();
    yield* this.#members.nodes();
    for (const { record } of this.#policies.all()) yield record;
    yield* this.#peers.namespaces();
  }

  /** Returns the pods of this node that a policy selects, `namespace/name`. */
  podsOf(key: string): readonly string[] {
    const groups = [...(this.#policies.get(key)?.selects ?? [])];
    return groups.flatMap(({ locals }) => Array.from(locals ?? [], (pod) => pod.key));
  }

  /** Applies changes of objects, of which those of other kinds are ignored, and returns their effect. */
  apply(changes: readonly ObjectChange[]): PolicyUpdate {
    this.#changes = new Changes();
    const isPolicy = ({ kind }: ObjectRef) =>
      kind === 'networkPolicy' || kind === 'clusterNetworkPolicy';
    const policies: (readonly [ObjectRef, ObjectChange])[] = [];
    for (const change of changes) {
      const object = change.op === 'set' ? change.object : undefined;
      const ref: ObjectRef = object ?? (change as ObjectRef);
      if (isPolicy(ref)) policies.push([ref, change]);
      else if (change.op !== 'invalid') this.#setObject(ref, object);
    }
    // Policies come last, so that they meet the groups as they are now.
    for (const [ref, change] of policies) this.#changePolicy(ref, change);
    this.#activate();
    for (const key of this.#changes.policies) this.#policies.get(key)?.active?.sweep();
    for (const group of this.#changes.groups) this.#resubject(group);
    const update = this.#report();
    this.#sets.endUpdate();
    this.#updateDemand();
    return update;
  }

  #setObject(ref: ObjectRef, object: ObjectRef | undefined): void {
    switch (ref.kind) {
      case 'pod':
        this.#setPod(ref, object as PodRecord | undefined);
        break;
      case 'node':
        this.#members.setNode(ref.name, object as NodeRecord | undefined);
        break;
      case 'namespace':
        this.#setNamespace(ref.name, object as NamespaceRecord | undefined);
        break;
    }
  }

  #setPod(ref: ObjectRef, record: PodRecord | undefined): void {
    const change = this.#members.setPod(ref, record);
    if (!change) return;
    if (change.after?.record) this.#addLocal(change.after);
    if (change.before?.record) this.#removeLocal(change.before);
  }

  #addLocal(entry: PodEntry): void {
    const { group } = entry;
    group.locals ??= new Set();
    group.locals.add(entry);
    this.#changes.pods.add(entry);
    this.#changes.removedPods.delete(entry.key);
    if (this.#locals.has(group)) return;
    this.#locals.set(group, { policies: new Set(), egress: undefined, ingress: undefined });
    for (const policy of this.#policies.inNamespace(group.place.name)) this.#match(policy, group);
    for (const policy of this.#policies.ofCluster) this.#match(policy, group);
    this.#changes.groups.add(group);
  }

  #removeLocal(entry: PodEntry): void {
    const { group, key } = entry;
    group.locals?.delete(entry);
    this.#changes.pods.delete(entry);
    if (!this.#members.pod(key)?.record) this.#changes.removedPods.add(key);
    if (group.locals?.size !== 0) return;
    group.locals = undefined;
    const local = this.#locals.get(group)!;
    for (const policy of [...local.policies]) this.#unmatch(policy, group);
    this.#subjects.release(local.egress);
    this.#subjects.release(local.ingress);
    this.#locals.delete(group);
    this.#changes.groups.delete(group);
  }

  #setNamespace(name: string, record: NamespaceRecord | undefined): void {
    const { groups } = this.#peers.setNamespace(name, record);
    for (const { key } of this.#policies.inNamespace(name)) this.#changes.policies.add(key);
    for (const group of groups.values()) {
      if (!this.#locals.has(group)) continue;
      this.#changes.groups.add(group);
      for (const policy of this.#policies.ofCluster) this.#match(policy, group);
    }
  }

  #changePolicy(ref: ObjectRef, change: ObjectChange): void {
    const key = policyKey(ref);
    const known = this.#policies.get(key);
    if (change.op === 'delete') {
      if (known) this.#removePolicy(known);
      return;
    }
    if (change.op === 'invalid') {
      if (known) {
        known.problem = change.reason;
        this.#changes.policies.add(known.key);
      } else this.#addPolicy(key, unusablePolicy(ref, change.reason));
      return;
    }
    const entry = this.#addPolicy(key, change.object as PolicyRecord);
    if (!known) return;
    // The new rules come first, so that ranges and instances that both versions need are kept.
    if (known.selects.size > 0 && entry.selects.size > 0) this.#activatePolicy(entry);
    this.#removePolicy(known);
  }

  #addPolicy(key: string, record: PolicyRecord): PolicyEntry {
    const entry: PolicyEntry = {
      ...{ key, record, problem: undefined },
      ...{ selects: new Set(), active: undefined },
    };
    this.#policies.add(entry);
    if (this.#policies.ofCluster.size === 1) this.#touchUnknown();
    for (const group of this.#locals.keys()) {
      if (record.kind !== 'networkPolicy' || group.place.name === record.namespace) {
        this.#match(entry, group);
      }
    }
    return entry;
  }

  #removePolicy(entry: PolicyEntry): void {
    this.#policies.remove(entry);
    if (this.#policies.ofCluster.size === 0) this.#touchUnknown();
    for (const group of [...entry.selects]) this.#unmatch(entry, group);
    this.#deactivate(entry);
    this.#changes.policies.add(entry.key);
  }

  /** Marks the groups in namespaces that are not known: these are closed while ClusterNetworkPolicies exist. */
  #touchUnknown(): void {
    for (const group of this.#locals.keys()) {
      if (!group.place.record) this.#changes.groups.add(group);
    }
  }

  /** Selects or unselects a group of this node. */
  #match(entry: PolicyEntry, group: Group): void {
    if (!selects(entry.record, group)) {
      if (entry.selects.has(group)) this.#unmatch(entry, group);
      return;
    }
    if (entry.selects.has(group)) return;
    entry.selects.add(group);
    this.#locals.get(group)!.policies.add(entry);
    entry.active?.select(group);
    this.#changes.groups.add(group);
    this.#changes.policies.add(entry.key);
  }

  #unmatch(entry: PolicyEntry, group: Group): void {
    entry.selects.delete(group);
    this.#locals.get(group)!.policies.delete(entry);
    entry.active?.unselect(group);
    this.#changes.groups.add(group);
    this.#changes.policies.add(entry.key);
  }

  /** Gives rules to the policies that select a pod of this node now, and takes them from those that don't. */
  #activate(): void {
    const policies = Array.from(this.#changes.policies, (key) => this.#policies.get(key)).filter(
      (entry) => entry !== undefined,
    );
    for (const entry of policies) {
      if (entry.selects.size > 0 && !entry.active) this.#activatePolicy(entry);
    }
    for (const entry of policies) if (entry.selects.size === 0) this.#deactivate(entry);
  }

  #activatePolicy(entry: PolicyEntry): void {
    const onChange = () => {
      this.#changes.policies.add(entry.key);
      for (const group of entry.selects) this.#changes.groups.add(group);
    };
    entry.active = new ActivePolicy(entry.record, this.#peers, this.#registry, onChange);
    for (const group of entry.selects) entry.active.select(group);
    onChange();
  }

  #deactivate(entry: PolicyEntry): void {
    if (!entry.active) return;
    entry.active.remove();
    entry.active = undefined;
  }

  #isAudited({ record }: PolicyEntry): boolean {
    if (record.isAudited) return true;
    if (record.kind !== 'networkPolicy') return false;
    return this.#peers.namespace(record.namespace)?.isAudited ?? false;
  }

  /** Returns the response to what no rule allows, which policies that isolate a pod ask for; a later one informs better. */
  #denyResponse(entries: readonly PolicyEntry[], direction: Direction): DenyResponse | undefined {
    const wanted = entries
      .filter(({ active }) => active!.isolates(direction))
      .map(
        ({ record }) =>
          record.denyResponse ?? this.#peers.namespace(record.namespace)?.denyResponse,
      );
    return denyResponses.findLast((each) => wanted.includes(each));
  }

  /** Computes the subjects of a group of this node. */
  #resubject(group: Group): void {
    const local = this.#locals.get(group)!;
    const [egress, ingress] = [
      this.#subjectOf(group, local, 'egress'),
      this.#subjectOf(group, local, 'ingress'),
    ];
    this.#subjects.release(local.egress);
    this.#subjects.release(local.ingress);
    if (egress !== local.egress || ingress !== local.ingress) {
      for (const pod of group.locals ?? []) this.#changes.pods.add(pod);
    }
    local.egress = egress;
    local.ingress = ingress;
  }

  #subjectOf(group: Group, { policies }: LocalGroup, direction: Direction): Subject | undefined {
    if (!group.place.record && this.#policies.ofCluster.size > 0) {
      return this.#subjects.acquire(direction, { rules: [], isIsolated: true }, undefined);
    }
    const select = (entries: readonly PolicyEntry[]) => ({
      rules: entries
        .flatMap(({ active }) => [...active!.rulesFor(group, direction)])
        .sort((a, b) => a.id - b.id),
      isIsolated: entries.some(({ active }) => active!.isolates(direction)),
    });
    const all = [...policies];
    const enforcing = all.filter((entry) => !this.#isAudited(entry));
    const denyResponse = this.#denyResponse(enforcing, direction);
    const enforced = { ...select(enforcing), ...(denyResponse && { denyResponse }) };
    const audited = select(all.filter((entry) => this.#isAudited(entry)));
    if (audited.rules.length === 0 && !audited.isIsolated) {
      return this.#subjects.acquire(direction, enforced, undefined);
    }
    return this.#subjects.acquire(direction, enforced, select(all));
  }

  #report(): PolicyUpdate {
    const { policies, addedRules, removedRules, pods, removedPods } = this.#changes;
    const reported = this.#reported;
    const entries = Array.from(policies, (key) => this.#policies.get(key));
    const rows = entries.flatMap((entry) => (entry?.active ? [this.#row(entry)] : []));
    const isActive = (key: string) => this.#policies.get(key)?.active !== undefined;
    const subjects = Array.from(pods, (entry) => this.#podSubjects(entry));
    for (const { key } of rows) reported.policies.add(key);
    for (const { pod } of subjects) reported.pods.add(pod);
    return {
      policies: {
        upserted: rows,
        removed: [...policies].filter((key) => !isActive(key) && reported.policies.delete(key)),
      },
      rules: { added: [...addedRules], removed: [...removedRules] },
      peers: this.#classes.update(this.#addresses),
      subjects: {
        upserted: subjects,
        removed: [...removedPods].filter((key) => reported.pods.delete(key)),
      },
    };
  }

  #row(entry: PolicyEntry): PolicyRow {
    const { key, record, problem } = entry;
    const namespace = this.#peers.namespace(record.namespace);
    return {
      key,
      tier: tierOf(record),
      priority: priorityOf(record),
      rules: entry.active!.rules,
      isAudited: this.#isAudited(entry),
      problems: [
        ...(problem === undefined ? [] : [problem]),
        ...record.problems.map((text) => `${key}: ${text}`),
        ...(namespace?.problems ?? []).map((text) => `${objectLabel(namespace!)}: ${text}`),
      ],
    };
  }

  #podSubjects({ key, group, record }: PodEntry): PodSubjects {
    const { egress, ingress } = this.#locals.get(group)!;
    const { uid, addresses } = record!;
    return { pod: key, uid, addresses, egress, ingress };
  }

  #updateDemand(): void {
    const now = this.#peers.demand();
    const before = this.#demand;
    if (now === before) return;
    const isSame =
      now !== 'all' &&
      before !== 'all' &&
      now.size === before.size &&
      [...now].every((name) => before.has(name));
    if (!isSame) this.#demand = now;
  }
}
