import type { Labels, NamedPort, NamespaceRecord, PeerRecord } from '@heddle/objects';
import type { AddressIndex } from './address-index.ts';
import {
  Group,
  type Member,
  type NamedRule,
  Place,
  Scope,
  type ScopeFilter,
  Term,
} from './groups.ts';
import { Profiles } from './profiles.ts';
import type { ModelRule, RuleSets } from './rule-sets.ts';
import { selectorKey } from './selectors.ts';

/** The terms and ranges of a rule's peers. */
export interface Attachment {
  readonly terms: ReadonlySet<Term>;
  readonly blocks: readonly { readonly range: string; readonly except: readonly string[] }[];
}

/** Finds the rules that a group of pods or Nodes is a peer of, and the groups that are peers of a rule. */
export class PeerIndex {
  readonly #sets: RuleSets;
  readonly #addresses: AddressIndex;
  readonly #profiles: Profiles;
  readonly #places = new Map<string, Place>();
  readonly #scopes = new Map<string, Scope>();
  readonly nodes = new Place('', true);

  constructor(sets: RuleSets, addresses: AddressIndex) {
    this.#sets = sets;
    this.#addresses = addresses;
    this.#profiles = new Profiles(sets, addresses);
  }

  /** Returns the namespace of a name, also if nothing is known of it. */
  place(name: string): Place {
    const known = this.#places.get(name);
    if (known) return known;
    const place = new Place(name, false);
    this.#places.set(name, place);
    for (const scope of this.#scopes.values()) this.#rescope(place, scope);
    return place;
  }

  setNamespace(name: string, record: NamespaceRecord | undefined): Place {
    const place = this.place(name);
    place.record = record;
    let isChanged = false;
    for (const scope of this.#scopes.values()) {
      if (this.#rescope(place, scope)) isChanged = true;
    }
    if (isChanged) for (const group of place.groups.values()) this.#recompute(group);
    this.#prune(place);
    return place;
  }

  /** Returns the record of a Namespace, if it is known. */
  namespace(name: string): NamespaceRecord | undefined {
    return this.#places.get(name)?.record;
  }

  *namespaces(): Generator<NamespaceRecord> {
    for (const { record } of this.#places.values()) if (record) yield record;
  }

  /** Returns the group of a pod or Node. The caller adds the member, or drops the group if it needs none. */
  group(place: Place, labels: Labels, ports: readonly NamedPort[]): Group {
    const key = groupKey(labels, ports);
    let group = place.groups.get(key);
    if (!group) {
      const profile = this.#profiles.of(this.#sets.empty);
      group = new Group(place, key, labels, ports, profile);
      profile.groups.add(group);
      place.groups.set(key, group);
      for (const scope of place.scopes) for (const term of scope.terms.values()) join(term, group);
      this.#recompute(group);
    }
    return group;
  }

  enter(member: Member): void {
    const { members } = member.group;
    member.index = members.length;
    members.push(member);
  }

  /** Takes a pod or Node, which has no address any more, from its group. */
  leave(member: Member): void {
    const { group } = member;
    const { members, place } = group;
    const last = members.pop()!;
    if (last !== member) {
      members[member.index] = last;
      last.index = member.index;
    }
    if (members.length > 0) return;
    for (const scope of place.scopes) for (const term of scope.terms.values()) part(term, group);
    this.#profiles.leave(group);
    place.groups.delete(group.key);
    this.#prune(place);
  }

  /** Makes the peers of a policy in a namespace peers of a rule. */
  attach(rule: ModelRule, peers: readonly PeerRecord[], namespace: string): Attachment {
    const terms = new Set<Term>();
    for (const peer of peers) {
      const term = this.#termOf(peer, namespace);
      if (!term) continue;
      terms.add(term);
      term.rules.add(rule);
      this.#profiles.add(term.groups, rule);
    }
    const blocks = peers.filter((peer) => peer.type === 'range');
    for (const block of blocks) this.#addresses.addBlock(rule, block);
    return { terms, blocks };
  }

  detach(rule: ModelRule, { terms, blocks }: Attachment): void {
    for (const term of terms) {
      term.rules.delete(rule);
      this.#profiles.remove(term.groups, rule);
      this.#pruneTerm(term);
    }
    for (const block of blocks) this.#addresses.removeBlock(rule, block);
  }

  /**
   * Makes pods peers of the instances for their own ports. Without a list of peers these are all pods. Ranges have no named
   * ports.
   */
  attachNamed(
    named: NamedRule,
    peers: readonly PeerRecord[] | undefined,
    namespace: string,
  ): ReadonlySet<Term> {
    const terms = new Set<Term>();
    if (peers === undefined) terms.add(this.#term({ type: 'any' }, 'any', []));
    for (const peer of peers ?? []) {
      const term = peer.type === 'pods' ? this.#termOf(peer, namespace) : undefined;
      if (term) terms.add(term);
    }
    for (const term of terms) {
      term.named.add(named);
      for (const [rule, groups] of byRule(term.groups, (ports) => named.acquire(ports))) {
        this.#profiles.add(groups, rule);
      }
    }
    return terms;
  }

  detachNamed(named: NamedRule, terms: ReadonlySet<Term>): void {
    for (const term of terms) {
      term.named.delete(named);
      for (const [rule, groups] of byRule(term.groups, (ports) => named.instances(ports))) {
        this.#profiles.remove(groups, rule);
      }
      for (const group of term.groups) named.release(group.ports);
      this.#pruneTerm(term);
    }
  }

  /** Returns the namespaces whose pods some rule asks for, or `all`. */
  demand(): 'all' | Set<string> {
    const names = new Set<string>();
    for (const { filter, places } of this.#scopes.values()) {
      if (filter.type === 'any') return 'all';
      if (filter.type === 'selector') {
        if (filter.selector.length === 0) return 'all';
        for (const { name } of places) names.add(name);
      } else if (filter.type === 'own') names.add(filter.name);
    }
    return names;
  }

  #recompute(group: Group): void {
    const rules = new Set<ModelRule>();
    for (const scope of group.place.scopes) {
      for (const term of scope.terms.values()) {
        if (!term.groups.has(group)) continue;
        for (const rule of term.rules) rules.add(rule);
        for (const named of term.named) {
          for (const rule of named.instances(group.ports)) rules.add(rule);
        }
      }
    }
    this.#profiles.move(group, this.#sets.of(rules));
  }

  #termOf(peer: PeerRecord, namespace: string): Term | undefined {
    if (peer.type === 'nodes') return this.#term({ type: 'nodes' }, 'nodes', peer.nodes);
    if (peer.type !== 'pods') return undefined;
    const { namespaces: selector, pods } = peer;
    if (!selector) return this.#term({ type: 'own', name: namespace }, `own ${namespace}`, pods);
    return this.#term({ type: 'selector', selector }, `selector ${selectorKey(selector)}`, pods);
  }

  #term(filter: ScopeFilter, scopeKey: string, selector: PodSelector): Term {
    let scope = this.#scopes.get(scopeKey);
    if (!scope) {
      scope = new Scope(scopeKey, filter);
      this.#scopes.set(scopeKey, scope);
      for (const place of [this.nodes, ...this.#places.values()]) this.#rescope(place, scope);
    }
    const key = selectorKey(selector);
    let term = scope.terms.get(key);
    if (!term) {
      term = new Term(scope, key, selector);
      scope.terms.set(key, term);
      for (const place of scope.places) {
        for (const group of place.groups.values()) join(term, group);
      }
    }
    return term;
  }

  /** Returns true if the place has entered or left the scope. The caller computes the rules of its groups anew. */
  #rescope(place: Place, scope: Scope): boolean {
    const isIn = scope.matches(place);
    if (isIn === scope.places.has(place)) return false;
    if (isIn) {
      scope.places.add(place);
      place.scopes.add(scope);
    } else {
      scope.places.delete(place);
      place.scopes.delete(scope);
    }
    for (const term of scope.terms.values()) {
      for (const group of place.groups.values()) {
        if (isIn) join(term, group);
        else part(term, group);
      }
    }
    return true;
  }

  #pruneTerm(term: Term): void {
    if (term.rules.size > 0 || term.named.size > 0) return;
    const { scope } = term;
    scope.terms.delete(term.key);
    if (scope.terms.size > 0) return;
    this.#scopes.delete(scope.key);
    for (const place of scope.places) place.scopes.delete(scope);
  }

  /** Forgets a namespace of which nothing is left. */
  #prune(place: Place): void {
    if (place.isNodes || place.record || place.groups.size > 0) return;
    this.#places.delete(place.name);
    for (const scope of place.scopes) scope.places.delete(place);
  }
}

type PodSelector = Extract<PeerRecord, { type: 'pods' }>['pods'];

function groupKey(labels: Labels, ports: readonly NamedPort[]): string {
  const key = labels.join('\n');
  if (ports.length === 0) return key;
  const texts = ports.map(({ name, protocol, port }) => `${name} ${protocol} ${port}`);
  return `${key}\n\n${texts.join('\n')}`;
}

/** Returns the groups of each instance of a named port. */
function byRule(
  groups: Iterable<Group>,
  instances: (ports: readonly NamedPort[]) => readonly ModelRule[],
): ReadonlyMap<ModelRule, readonly Group[]> {
  const lists = new Map<ModelRule, Group[]>();
  for (const group of groups) {
    for (const rule of instances(group.ports)) {
      const list = lists.get(rule);
      if (list) list.push(group);
      else lists.set(rule, [group]);
    }
  }
  return lists;
}

function join(term: Term, group: Group): void {
  if (term.groups.has(group) || !term.matches(group)) return;
  term.groups.add(group);
  for (const named of term.named) named.acquire(group.ports);
}

function part(term: Term, group: Group): void {
  if (!term.groups.delete(group)) return;
  for (const named of term.named) named.release(group.ports);
}
