import type { Labels, NamedPort, NamespaceRecord, PodRecord, Selector } from '@heddle/objects';
import type { AddressValue } from './address-values.ts';
import type { RangeNode } from './range-tree.ts';
import type { ModelRule, RuleSet } from './rule-sets.ts';
import { matchesLabels } from './selectors.ts';

// Pods of a namespace with the same labels and named ports form a group, because policies treat them alike. Nodes form
// groups in the same way. So a new policy is compared with groups, and a pod that changes its labels moves to another group.

/** A pod that the model knows, and its group. */
export interface PodEntry {
  record: PodRecord;
  group: Group;
}

export class Group {
  readonly place: Place;
  readonly key: string;
  readonly labels: Labels;
  readonly ports: readonly NamedPort[];
  /** The rules whose selectors match the group as a peer. */
  rules: RuleSet;
  /** The number of pods or Nodes. */
  size = 0;
  /** The pods of this node. */
  readonly locals = new Set<PodEntry>();
  /** The addresses of the group by the narrowest range that contains them. */
  readonly spots = new Map<RangeNode, Spot>();

  constructor(
    place: Place,
    key: string,
    labels: Labels,
    ports: readonly NamedPort[],
    rules: RuleSet,
  ) {
    this.place = place;
    this.key = key;
    this.labels = labels;
    this.ports = ports;
    this.rules = rules;
  }
}

/** A namespace, or the place of all Nodes. */
export class Place {
  readonly name: string;
  readonly isNodes: boolean;
  /** Undefined if the Namespace is not known. */
  record: NamespaceRecord | undefined;
  readonly groups = new Map<string, Group>();
  /** The scopes that contain it. */
  readonly scopes = new Set<Scope>();

  constructor(name: string, isNodes: boolean) {
    this.name = name;
    this.isNodes = isNodes;
  }
}

/**
 * The namespaces that a peer may be in. `own`: the one of this name. `any`: all, known or not. `nodes`: not a namespace, but the
 * Nodes.
 */
export type ScopeFilter =
  | { readonly type: 'own'; readonly name: string }
  | { readonly type: 'selector'; readonly selector: Selector }
  | { readonly type: 'any' }
  | { readonly type: 'nodes' };

export class Scope {
  readonly key: string;
  readonly filter: ScopeFilter;
  readonly places = new Set<Place>();
  readonly terms = new Map<string, Term>();

  constructor(key: string, filter: ScopeFilter) {
    this.key = key;
    this.filter = filter;
  }

  matches(place: Place): boolean {
    const { filter } = this;
    if (filter.type === 'nodes' || place.isNodes) return filter.type === 'nodes' && place.isNodes;
    if (filter.type === 'any') return true;
    if (filter.type === 'own') return place.name === filter.name;
    return place.record !== undefined && matchesLabels(filter.selector, place.record.labels);
  }
}

/** A rule that has an instance for each number which the destination pods give a name. */
export interface NamedRule {
  /** Returns the instances for these ports, and counts a use of each. */
  readonly acquire: (ports: readonly NamedPort[]) => readonly ModelRule[];
  /** Gives up the uses of the instances for these ports. */
  readonly release: (ports: readonly NamedPort[]) => void;
  /** Returns the instances for these ports, which are in use. */
  readonly instances: (ports: readonly NamedPort[]) => readonly ModelRule[];
}

/** A condition on peers that rules share: a selector of labels within a scope. */
export class Term {
  readonly scope: Scope;
  readonly key: string;
  readonly selector: Selector;
  /** The groups that fulfil it. */
  readonly groups = new Set<Group>();
  readonly rules = new Set<ModelRule>();
  readonly named = new Set<NamedRule>();

  constructor(scope: Scope, key: string, selector: Selector) {
    this.scope = scope;
    this.key = key;
    this.selector = selector;
  }

  matches(group: Group): boolean {
    return matchesLabels(this.selector, group.labels);
  }
}

/** A class of peers; see PeerChanges. */
export interface PeerClass {
  readonly number: number;
  rules: RuleSet;
  readonly spots: Set<Spot>;
}

/** An address, or the entry of a range, whose text has a prefix length. */
export interface Holding {
  readonly text: string;
  readonly value: AddressValue;
  spot: Spot | undefined;
}

/**
 * Addresses with the same rules: those of one group within one range, or the entry of a range itself. They have one class.
 */
export class Spot {
  /** Undefined: the entry of the range, or an address that only the range names. */
  readonly owner: Group | undefined;
  range: RangeNode;
  readonly holdings = new Set<Holding>();
  class: PeerClass | undefined;
  /** All addresses lie between these. */
  first: AddressValue | undefined;
  last: AddressValue | undefined;

  constructor(owner: Group | undefined, range: RangeNode) {
    this.owner = owner;
    this.range = range;
  }
}
