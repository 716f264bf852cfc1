import type { PolicyRule } from '@heddle/policy';
import { NoRoom } from '../core/keyed-map.ts';
import { Extents } from '../services/extents.ts';
import { HeldRules, type KeptRules } from './held-rules.ts';
import {
  isRange,
  type PeerEntries,
  type PeerKey,
  type PeerWrite,
  peerKey,
  prefixLength,
} from './peer-entries.ts';
import type { RuleNumbers } from './rule-numbers.ts';
import { RuleSet, type Vectors } from './vectors.ts';

/** A class of peers of the model. */
interface PeerClass {
  readonly rules: Set<PolicyRule>;
  readonly groups: Set<Group>;
}

/** Addresses and ranges of a class that have one vector. */
interface Group {
  readonly owner: PeerClass;
  readonly vector: number;
  readonly keys: Set<PeerKey>;
}

/** Rules that could not be given to all of their peers, and why. */
export interface RefusedRules {
  readonly numbers: Iterable<number>;
  readonly reason: string;
}

/** The vector of addresses without an entry. */
const noClass = 0;

export interface PeerClassesParts {
  readonly entries: (has: (key: PeerKey) => boolean) => PeerEntries;
  /** The vectors of `peer_vectors`. */
  readonly vectors: Vectors;
  readonly numbers: RuleNumbers;
  /** A monotonic clock in nanoseconds. */
  readonly now: () => bigint;
}

/**
 * The vectors of the classes of peers, and which address or range has which. Mostly a class has one vector. It has several while
 * rules go: a removed rule that a program may still find in a subject is `held`, and an address that changes its class
 * keeps its held rules, as otherwise neither the old subject, which is still read, nor the new one would match it.
 * `remove` ends that: then vectors that have become equal are joined.
 */
export class PeerClasses {
  readonly #entries: PeerEntries;
  readonly #vectors: Vectors;
  readonly #rules: RuleNumbers;
  readonly #free: Extents;
  readonly #classes = new Map<number, PeerClass>();
  /** The class of what an earlier agent has written, and of what has an entry only until `remove`. */
  readonly #none = newClass();
  readonly #groups = new Map<PeerKey, Group>();
  readonly #groupsOf = new Map<number, Set<Group>>();
  /** Entries that are to be deleted once they have no held rules. */
  readonly #leaving = new Set<PeerKey>();
  /** Groups that may have no keys; see `#dropEmpty`. */
  readonly #emptied = new Set<Group>();
  /** The classes of keys that have no entry, because there was no room. */
  readonly #refused = new Map<PeerKey, PeerClass>();
  /** IPv4 addresses must not find ranges of IPv6 that contain them in the 128-bit form. */
  readonly #allIpv4 = peerKey('0.0.0.0/0');

  /** Takes over what an earlier agent has written. Throws SysError. */
  constructor({ entries, vectors, numbers, now }: PeerClassesParts) {
    this.#vectors = vectors;
    this.#rules = numbers;
    this.#free = new Extents(vectors.length, now);
    this.#free.reserve(noClass, 1);
    this.#entries = entries((key) => this.#groups.has(key));
    for (const { key, vector } of this.#entries.read()) {
      // A vector that the map of an earlier agent had room for is lost.
      const known = vector < vectors.length ? vector : noClass;
      if (known !== noClass && !this.#groupsOf.has(known)) this.#free.reserve(known, 1);
      this.#enter(key, this.#groupOf(this.#none, known));
      if (key !== this.#allIpv4) this.#leaving.add(key);
    }
  }

  /** Writes what is there without any class. To be called before the other methods that write. Throws SysError. */
  start(): void {
    if (!this.#groups.has(this.#allIpv4)) {
      this.#move([this.#allIpv4], this.#groupOf(this.#none, noClass));
    }
  }

  /** The number of vectors in use. */
  get used(): number {
    return this.#free.used;
  }

  get sizes(): PeerEntries['sizes'] {
    return this.#entries.sizes;
  }

  /** Returns the vectors that addresses have, and that of all others. */
  vectors(): number[] {
    return [...new Set([noClass, ...this.#groupsOf.keys()])];
  }

  /** The number of classes of the model. */
  get classCount(): number {
    return this.#classes.size;
  }

  /** Returns the vector of an address. */
  vectorOf(address: string): number {
    return this.#vectorAt(peerKey(address));
  }

  /** Takes a new class. Its rules are given to its addresses when they are assigned. */
  create(number: number, rules: ReadonlySet<PolicyRule>): void {
    this.#classes.set(number, { ...newClass(), rules: new Set(rules) });
  }

  /** Takes note of the rules of a class that are added or removed; see `give` and `remove`. */
  change(number: number, gained: readonly PolicyRule[], lost: readonly PolicyRule[]): void {
    const rules = this.#classes.get(number)?.rules;
    for (const rule of lost) rules?.delete(rule);
    for (const rule of gained) rules?.add(rule);
  }

  /** Forgets a class that no address has. */
  forget(number: number): void {
    this.#classes.delete(number);
  }

  /** Adds rules that match all peers, by their numbers, which no subject has. */
  giveAll(numbers: readonly number[]): void {
    if (numbers.length === 0) return;
    for (const vector of this.vectors()) this.#vectors.add(vector, numbers);
  }

  /**
   * Adds rules to the vectors of the classes that have them. No subject has their numbers. Returns the rules that do not
   * find room. Throws SysError.
   */
  give(rules: ReadonlySet<PolicyRule>): RefusedRules[] {
    const gained = new Map<PeerClass, number[]>();
    for (const each of this.#classes.values()) {
      if (each.groups.size === 0) continue;
      const own = shared(each.rules, rules);
      if (own.length > 0) gained.set(each, this.#rules.numbersOf(own));
    }
    const vectors = new Set(
      [...gained.keys()].flatMap(({ groups }) => [...groups].map((g) => g.vector)),
    );
    const refused: RefusedRules[] = [];
    for (const vector of vectors) refused.push(...this.#giveVector(vector, gained));
    this.#dropEmpty();
    return refused;
  }

  /**
   * Gives addresses, ranges and names the vector of their class by number; without a number they have none any more.
   * `held`: retired rules that a program may find in a subject. Returns the rules that are not right for an address, because there
   * is no room. Throws SysError.
   */
  assign(changes: ReadonlyMap<PeerKey, number | undefined>, held: RuleSet): RefusedRules[] {
    const wanted = new Map<PeerKey, PeerClass | undefined>();
    for (const [key, number] of changes) {
      const owner = number === undefined ? undefined : this.#classes.get(number);
      wanted.set(key, owner);
    }
    return this.#assign(wanted, held);
  }

  /** Tries again what found no room. Throws SysError. */
  assignRefused(held: RuleSet): RefusedRules[] {
    return this.#assign(new Map(this.#refused), held);
  }

  /**
   * Removes rules that no program can find any more. `retired`: those that stay. Returns true if that has made room.
   * Throws SysError.
   */
  remove(rules: RuleSet, retired: RuleSet): boolean {
    let isChanged = false;
    for (const vector of this.vectors()) {
      if (this.#vectors.remove(vector, rules)) isChanged = true;
    }
    const isDeleted = this.#deleteLeaving(retired);
    const isJoined = isChanged && this.#join();
    this.#dropEmpty();
    return isDeleted || isJoined;
  }

  #giveVector(vector: number, gained: ReadonlyMap<PeerClass, readonly number[]>): RefusedRules[] {
    const groups = [...this.#groupsOf.get(vector)!];
    const text = (group: Group) => gained.get(group.owner)?.join() ?? '';
    const isSame = groups.every((group) => text(group) === text(groups[0]!));
    if (isSame && vector !== noClass) {
      this.#vectors.add(vector, gained.get(groups[0]!.owner)!);
      return [];
    }
    return groups.flatMap((group) => {
      const numbers = gained.get(group.owner);
      if (!numbers) return [];
      const rules = this.#vectors.rules(vector);
      for (const number of numbers) rules.add(number);
      const created = this.#create(rules);
      if (created === undefined) return [{ numbers, reason: this.#noVectors() }];
      this.#move([...group.keys], this.#groupOf(group.owner, created));
      return [];
    });
  }

  #assign(wanted: ReadonlyMap<PeerKey, PeerClass | undefined>, held: RuleSet): RefusedRules[] {
    const heldRules = new HeldRules(this.#vectors, held);
    const order = [...wanted];
    if (order.some(([key]) => isRange(key))) {
      // What is leaving follows the wider range.
      for (const key of this.#leaving) if (!wanted.has(key)) order.push([key, undefined]);
      // What has no entry has the vector of the wider range, so those come first.
      order.sort(([a], [b]) => prefixLength(a) - prefixLength(b));
    }
    const refused: RefusedRules[] = [];
    const writes = new Map<Group, PeerKey[]>();
    const deleted: PeerKey[] = [];
    let created = 0;
    for (const [key, owner] of order) {
      this.#leaving.delete(key);
      this.#refused.delete(key);
      const before = this.#vectorAt(key);
      const kept = heldRules.of(before);
      if (!owner && key !== this.#allIpv4) {
        if (!this.#groups.has(key)) continue;
        if (kept.numbers.length === 0) {
          deleted.push(key);
          continue;
        }
        this.#leaving.add(key);
      }
      const target = owner ?? this.#ownerAround(key);
      const full = this.#groups.has(key) ? undefined : this.#entries.full(key, created);
      const group = full === undefined ? this.#groupWith(target, kept, heldRules) : undefined;
      if (!group) {
        const numbers = this.#wrongRules(before, target);
        refused.push({ numbers, reason: full ?? this.#noVectors() });
        this.#refuse(key, target);
      } else if (isRange(key)) this.#move([key], group);
      else {
        if (!this.#groups.has(key)) created++;
        const keys = writes.get(group);
        if (keys) keys.push(key);
        else writes.set(group, [key]);
      }
    }
    for (const [group, keys] of writes) this.#move(keys, group);
    for (const key of deleted) this.#delete(key);
    this.#dropEmpty();
    return refused;
  }

  /** Returns the class of an entry that is to go: that of the wider range. */
  #ownerAround(key: PeerKey): PeerClass {
    const parent = key === this.#allIpv4 ? undefined : this.#entries.parent(key);
    return parent === undefined ? this.#none : this.#groups.get(parent)!.owner;
  }

  /** Returns a group of a class whose vector has exactly the kept ones of the held rules; undefined without room. */
  #groupWith(owner: PeerClass, kept: KeptRules, held: HeldRules): Group | undefined {
    for (const group of owner.groups) {
      if (held.of(group.vector).text === kept.text) return group;
    }
    const rules = this.#ownRules(owner);
    for (const number of kept.numbers) rules.add(number);
    const vector = this.#isNone(rules) ? noClass : this.#create(rules);
    return vector === undefined ? undefined : this.#groupOf(owner, vector);
  }

  /** Returns the rules of a class, and those that match all peers. */
  #ownRules({ rules }: PeerClass): RuleSet {
    const all = this.#vectors.rules(noClass);
    for (const number of this.#rules.numbersOf(rules)) all.add(number);
    return all;
  }

  #isNone(rules: RuleSet): boolean {
    const none = this.#vectors.rules(noClass);
    return rules.words.every((word, i) => word === none.words[i]);
  }

  /** Returns the rules in which a vector differs from what a class is to have. */
  #wrongRules(vector: number, owner: PeerClass): number[] {
    const [there, wanted] = [this.#vectors.rules(vector), this.#ownRules(owner)];
    const wrong = new RuleSet();
    there.words.forEach((word, i) => {
      wrong.words[i] = word ^ wanted.words[i]!;
    });
    return [...wrong];
  }

  /** Leaves a key where it is: the rules that are wrong there are refused, so that it fits its class without them. */
  #refuse(key: PeerKey, owner: PeerClass): void {
    const group = this.#groups.get(key);
    if (group) this.#regroup(key, group, this.#groupOf(owner, group.vector));
    else this.#refused.set(key, owner);
  }

  #vectorAt(key: PeerKey): number {
    const own = this.#groups.get(key);
    if (own) return own.vector;
    const parent = this.#entries.parent(key);
    return parent === undefined ? noClass : this.#groups.get(parent)!.vector;
  }

  /** Writes the entries of keys, and takes note of them. Throws SysError; then nothing is taken note of. */
  #move(keys: readonly PeerKey[], group: Group): void {
    const { vector } = group;
    const changed = keys.filter((key) => this.#groups.get(key)?.vector !== vector);
    const writes = changed.map((key): PeerWrite => ({ key, vector }));
    if (writes.length > 0) this.#entries.write(writes);
    for (const key of keys) {
      const before = this.#groups.get(key);
      if (before) this.#regroup(key, before, group);
      else this.#enter(key, group);
    }
  }

  #enter(key: PeerKey, group: Group): void {
    group.keys.add(key);
    this.#groups.set(key, group);
    this.#entries.count(key, 1);
  }

  #regroup(key: PeerKey, before: Group, after: Group): void {
    if (before === after) return;
    after.keys.add(key);
    this.#groups.set(key, after);
    before.keys.delete(key);
    if (before.keys.size === 0) this.#emptied.add(before);
  }

  #delete(key: PeerKey): void {
    const group = this.#groups.get(key);
    if (!group) return;
    this.#entries.delete(key);
    this.#groups.delete(key);
    this.#entries.count(key, -1);
    group.keys.delete(key);
    if (group.keys.size === 0) this.#emptied.add(group);
  }

  #groupOf(owner: PeerClass, vector: number): Group {
    const known = [...owner.groups].find((group) => group.vector === vector);
    if (known) return known;
    const group = { owner, vector, keys: new Set<PeerKey>() };
    owner.groups.add(group);
    this.#emptied.add(group);
    const others = this.#groupsOf.get(vector);
    if (others) others.add(group);
    else this.#groupsOf.set(vector, new Set([group]));
    return group;
  }

  /** Drops the groups that have become empty, and releases their vectors. To be called at the end of a change. */
  #dropEmpty(): void {
    for (const group of this.#emptied) {
      const { owner, vector, keys } = group;
      if (keys.size > 0) continue;
      owner.groups.delete(group);
      const others = this.#groupsOf.get(vector)!;
      others.delete(group);
      if (others.size > 0) continue;
      this.#groupsOf.delete(vector);
      if (vector !== noClass) this.#free.release(vector, 1);
    }
    this.#emptied.clear();
  }

  #create(rules: RuleSet): number | undefined {
    const vector = this.#free.allocate(1);
    if (vector !== undefined) this.#vectors.write(vector, rules);
    return vector;
  }

  #deleteLeaving(retired: RuleSet): boolean {
    const held = new HeldRules(this.#vectors, retired);
    let isDeleted = false;
    for (const key of this.#leaving) {
      if (held.of(this.#groups.get(key)!.vector).numbers.length > 0) continue;
      this.#leaving.delete(key);
      this.#delete(key);
      isDeleted = true;
    }
    return isDeleted;
  }

  /** Joins vectors with the same rules. Returns true if there were some. */
  #join(): boolean {
    const known = new Map([[this.#vectors.content(noClass), noClass]]);
    let isJoined = false;
    for (const [vector, groups] of [...this.#groupsOf]) {
      if (vector === noClass) continue;
      const content = this.#vectors.content(vector);
      const same = known.get(content);
      if (same === undefined) {
        known.set(content, vector);
        continue;
      }
      isJoined = true;
      for (const group of [...groups]) {
        this.#move([...group.keys], this.#groupOf(group.owner, same));
      }
    }
    return isJoined;
  }

  #noVectors(): string {
    return new NoRoom('peer_vectors', this.#vectors.length, 'sizes.policyPeerClasses').message;
  }
}

function newClass(): PeerClass {
  return { rules: new Set(), groups: new Set() };
}

/** Returns the elements that both sets have. */
function shared<Item>(a: ReadonlySet<Item>, b: ReadonlySet<Item>): Item[] {
  const [small, large] = a.size < b.size ? [a, b] : [b, a];
  return [...small].filter((item) => large.has(item));
}
