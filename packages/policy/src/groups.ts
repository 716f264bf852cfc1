import type {
  Labels,
  NamedPort,
  NamespaceRecord,
  NodeRecord,
  PodRecord,
  Selector,
} from '@heddle/objects';
import { type AddressValue, addressPrefix } from './address-values.ts';
import type { RangeNode } from './range-tree.ts';
import type { ModelRule, RuleSet } from './rule-sets.ts';
import { matchesLabels } from './selectors.ts';

// Pods of a namespace with the same labels and named ports form a group, because policies treat them alike. Nodes form
// groups in the same way. So a new policy is compared with groups, and a pod that changes its labels moves to another group.

/** A pod or Node, and its addresses. */
export abstract class Member {
  readonly group: Group;
  /** Its place in the list of the group. */
  index = 0;
  /** Replaced as a whole, because a list that grows reserves memory for sixteen items. */
  holdings: readonly Holding[] = none;

  constructor(group: Group) {
    this.group = group;
  }
}

const none: readonly Holding[] = [];

/** A pod. Of pods on other nodes only this is kept, because there may be a hundred thousand. */
export class PodEntry extends Member {
  /** `namespace/name`. */
  readonly key: string;
  readonly nodeName: string;
  readonly createdMs: number;
  /** The record of a pod of this node. */
  record: PodRecord | undefined;

  constructor(group: Group, key: string, pod: PodRecord, isLocal: boolean) {
    super(group);
    this.key = key;
    this.nodeName = pod.nodeName;
    this.createdMs = pod.createdMs;
    this.record = isLocal ? pod : undefined;
  }
}

export class NodeEntry extends Member {
  readonly record: NodeRecord;

  constructor(group: Group, record: NodeRecord) {
    super(group);
    this.record = record;
  }
}

export class Group {
  readonly place: Place;
  readonly key: string;
  readonly labels: Labels;
  readonly ports: readonly NamedPort[];
  profile: Profile;
  readonly members: Member[] = [];
  /** The pods of this node; undefined without one. */
  locals: Set<PodEntry> | undefined;

  constructor(
    place: Place,
    key: string,
    labels: Labels,
    ports: readonly NamedPort[],
    profile: Profile,
  ) {
    this.place = place;
    this.key = key;
    this.labels = labels;
    this.ports = ports;
    this.profile = profile;
  }
}

/** The groups that the same rules have as peers. */
export class Profile {
  rules: RuleSet;
  readonly groups = new Set<Group>();
  /** The addresses of the groups by the narrowest range that contains them. */
  readonly cells = new Map<RangeNode, Cell>();

  constructor(rules: RuleSet) {
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
  readonly cells: Set<Cell>;
}

/** An address that some object has, or a range of one address. */
export class Holding {
  readonly value: AddressValue;
  /** The pod or Node that has the address. */
  owner: Member | undefined;
  cell: Cell | undefined;
  /** The place in the list of the cell. */
  index = 0;

  constructor(value: AddressValue) {
    this.value = value;
  }

  get text(): string {
    return addressPrefix(this.value);
  }
}

/** The entry of a range of more than one address. */
export class RangeEntry extends Holding {
  readonly #text: string;

  constructor(value: AddressValue, text: string) {
    super(value);
    this.#text = text;
  }

  override get text(): string {
    return this.#text;
  }
}

/** Addresses with the same rules: those of a profile within one range, or the entry of the range. They have one class. */
export class Cell {
  /** Undefined: the entry of the range, or an address that only the range names. */
  readonly profile: Profile | undefined;
  range: RangeNode;
  readonly holdings: Holding[] = [];
  class: PeerClass | undefined;

  constructor(profile: Profile | undefined, range: RangeNode) {
    this.profile = profile;
    this.range = range;
  }
}
