import { type PolicyRule, rulesOfNames } from '@heddle/policy';

/** The changes of the classes of names, in the form of those of addresses (PeerChanges of @heddle/policy). */
export interface NameChanges {
  readonly created: ReadonlyMap<number, ReadonlySet<PolicyRule>>;
  /** The class of a name, or undefined if no rule has the name any more. */
  readonly assigned: ReadonlyMap<string, number | undefined>;
  readonly removed: readonly number[];
}

/**
 * The classes of the names that rules have. Each name has a class of its own, with the rules of the patterns that cover
 * it. Their numbers are below 0, so that they are none of the model's.
 */
export class NameClasses {
  readonly #rules = new Set<PolicyRule>();
  readonly #classes = new Map<
    string,
    { readonly number: number; readonly rules: ReadonlySet<PolicyRule> }
  >();
  #last = 0;

  /** Returns what rules that come and go change. */
  update(added: Iterable<PolicyRule>, removed: Iterable<PolicyRule>): NameChanges | undefined {
    let isChanged = false;
    for (const rule of removed) if (this.#rules.delete(rule)) isChanged = true;
    for (const rule of added) {
      if (rule.domainNames.length === 0) continue;
      this.#rules.add(rule);
      isChanged = true;
    }
    return isChanged ? this.#changes(rulesOfNames(this.#rules)) : undefined;
  }

  #changes(wanted: ReadonlyMap<string, ReadonlySet<PolicyRule>>): NameChanges {
    const created = new Map<number, ReadonlySet<PolicyRule>>();
    const assigned = new Map<string, number | undefined>();
    const removed: number[] = [];
    for (const [name, { number }] of this.#classes) {
      if (wanted.has(name)) continue;
      this.#classes.delete(name);
      assigned.set(name, undefined);
      removed.push(number);
    }
    for (const [name, rules] of wanted) {
      const before = this.#classes.get(name);
      if (before && isSame(before.rules, rules)) continue;
      if (before) removed.push(before.number);
      const number = --this.#last;
      this.#classes.set(name, { number, rules });
      created.set(number, rules);
      assigned.set(name, number);
    }
    return { created, assigned, removed };
  }
}

function isSame<T>(a: ReadonlySet<T>, b: ReadonlySet<T>): boolean {
  return a.size === b.size && [...a].every((each) => b.has(each));
}
