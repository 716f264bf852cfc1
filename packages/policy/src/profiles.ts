import type { AddressIndex } from './address-index.ts';
import { type Group, Profile } from './groups.ts';
import type { ModelRule, RuleSet, RuleSets } from './rule-sets.ts';

/**
 * Groups that the same rules have as peers share a profile. A rule whose peers are whole profiles changes these in place, so its cost does
 * not depend on the number of their pods. Otherwise the smaller part of a profile moves to another one.
 */
export class Profiles {
  readonly #sets: RuleSets;
  readonly #addresses: AddressIndex;
  readonly #byRules = new Map<RuleSet, Profile>();

  constructor(sets: RuleSets, addresses: AddressIndex) {
    this.#sets = sets;
    this.#addresses = addresses;
  }

  /** Returns the profile of these rules. */
  of(rules: RuleSet): Profile {
    const known = this.#byRules.get(rules);
    if (known) return known;
    const made = new Profile(rules);
    this.#byRules.set(rules, made);
    this.#sets.replace(undefined, rules);
    return made;
  }

  /** Moves a group to the profile of these rules. */
  move(group: Group, rules: RuleSet): void {
    const before = group.profile;
    if (before.rules === rules && before.groups.has(group)) return;
    this.#enter(group, this.of(rules));
  }

  /** Removes a group without members. */
  leave(group: Group): void {
    group.profile.groups.delete(group);
    this.#prune(group.profile);
  }

  /** Makes groups peers of a rule. */
  add(groups: Iterable<Group>, rule: ModelRule): void {
    this.#change(groups, (rules) => this.#sets.with(rules, rule));
  }

  remove(groups: Iterable<Group>, rule: ModelRule): void {
    this.#change(groups, (rules) => this.#sets.without(rules, rule));
  }

  #change(groups: Iterable<Group>, step: (rules: RuleSet) => RuleSet): void {
    const parts = new Map<Profile, Group[]>();
    for (const group of groups) {
      const part = parts.get(group.profile);
      if (part) part.push(group);
      else parts.set(group.profile, [group]);
    }
    for (const [profile, part] of parts) {
      const before = profile.rules;
      const after = step(before);
      if (after === before) continue;
      if (part.length * 2 <= profile.groups.size) {
        const target = this.of(after);
        for (const group of part) this.#enter(group, target);
        continue;
      }
      const changing = new Set(part);
      const others = [...profile.groups].filter((group) => !changing.has(group));
      this.#transform(profile, after);
      if (others.length === 0) continue;
      const target = this.of(before);
      for (const group of others) this.#enter(group, target);
    }
  }

  /** Gives all groups of a profile other rules. */
  #transform(profile: Profile, rules: RuleSet): void {
    const other = this.#byRules.get(rules);
    this.#byRules.delete(profile.rules);
    this.#sets.replace(profile.rules, rules);
    profile.rules = rules;
    this.#byRules.set(rules, profile);
    this.#addresses.touch(profile);
    if (!other) return;
    const [from, to] =
      other.groups.size < profile.groups.size ? [other, profile] : [profile, other];
    this.#byRules.set(rules, to);
    for (const group of [...from.groups]) this.#enter(group, to);
  }

  #enter(group: Group, target: Profile): void {
    const before = group.profile;
    if (before === target && target.groups.has(group)) return;
    before.groups.delete(group);
    target.groups.add(group);
    group.profile = target;
    for (const member of group.members) this.#addresses.follow(member);
    if (before !== target) this.#prune(before);
  }

  #prune(profile: Profile): void {
    if (profile.groups.size > 0) return;
    if (this.#byRules.get(profile.rules) === profile) this.#byRules.delete(profile.rules);
    this.#sets.replace(profile.rules, undefined);
  }
}
