import type { PolicyRow, PolicyRule, Tier } from '@heddle/policy';
import { anyPlaces, placesInOrder, type Region } from './rule-places.ts';
import { policyRules, RuleSet } from './vectors.ts';

/** The rules of a word of a vector. */
const perWord = 64;

/** The first words of NetworkPolicies and of the tier Baseline (see struct policy_state). */
export const tierWords = { NetworkPolicy: 16, Baseline: 56 } as const;

/** The numbers of the rules of each tier. */
export const tierRegions: Readonly<Record<Tier, Region>> = {
  Admin: { first: 0, end: tierWords.NetworkPolicy * perWord },
  NetworkPolicy: {
    first: tierWords.NetworkPolicy * perWord,
    end: tierWords.Baseline * perWord,
  },
  Baseline: { first: tierWords.Baseline * perWord, end: policyRules },
};

const isOrdered = (tier: Tier) => tier !== 'NetworkPolicy';

/** The result of `place`. */
export interface PlacedRules {
  /** Rules with a new number. A rule that had one before has another now. */
  readonly placed: readonly PolicyRule[];
  /** Policies whose new rules have no number, because there is no room. */
  readonly left: readonly PolicyRow[];
}

/**
 * The numbers of rules: the lowest number of those that match decides, so they are in the order of precedence. A
 * number that a rule has no longer is retired, and is used again after `release`.
 */
export class RuleNumbers {
  readonly #numbers = new Map<PolicyRule, number>();
  /** The rule that has or last had each number, unless it is free. */
  readonly #rules: (PolicyRule | undefined)[] = new Array(policyRules).fill(undefined);
  readonly #retired = new RuleSet();
  readonly #used = new RuleSet();

  /** The number of numbers that are not free. */
  get used(): number {
    let used = 0;
    for (const _number of this.#used) used++;
    return used;
  }

  /** The numbers that no rule has any more. */
  get retired(): RuleSet {
    return this.#retired;
  }

  numberOf(rule: PolicyRule): number | undefined {
    return this.#numbers.get(rule);
  }

  /** Returns the numbers of those rules that have one. */
  numbersOf(rules: Iterable<PolicyRule>): number[] {
    const numbers: number[] = [];
    for (const rule of rules) {
      const number = this.#numbers.get(rule);
      if (number !== undefined) numbers.push(number);
    }
    return numbers;
  }

  /** Returns the rule that has a number, or had it last; undefined for a free one, and for one of an earlier agent. */
  ruleAt(number: number): PolicyRule | undefined {
    return this.#rules[number];
  }

  /** Marks a number that an earlier agent has used as retired. */
  reserve(number: number): void {
    this.#used.add(number);
    this.#retired.add(number);
  }

  /**
   * Gives numbers to the rules of a tier that have none. `rows`: all policies of the tier that are to have numbers. Of
   * policies with an order the last ones stay without if there is no room for all.
   */
  place(tier: Tier, rows: readonly PolicyRow[]): PlacedRules {
    return isOrdered(tier) ? this.#placeOrdered(tier, rows) : this.#placeAnywhere(tier, rows);
  }

  /** Retires the numbers of rules; a rule without one is fine. */
  retire(rules: Iterable<PolicyRule>): void {
    for (const rule of rules) {
      const number = this.#numbers.get(rule);
      if (number === undefined) continue;
      this.#numbers.delete(rule);
      this.#retired.add(number);
    }
  }

  /** Frees retired numbers: no program can read them any more. */
  release(numbers: Iterable<number>): void {
    for (const number of numbers) {
      this.#retired.delete(number);
      this.#used.delete(number);
      this.#rules[number] = undefined;
    }
  }

  #placeAnywhere(tier: Tier, rows: readonly PolicyRow[]): PlacedRules {
    const placed: PolicyRule[] = [];
    const left: PolicyRow[] = [];
    for (const row of rows) {
      const missing = row.rules.filter((rule) => !this.#numbers.has(rule));
      if (missing.length === 0) continue;
      const places = anyPlaces(missing.length, tierRegions[tier], (n) => !this.#used.has(n));
      if (!places) {
        left.push(row);
        continue;
      }
      for (const [i, rule] of missing.entries()) this.#assign(rule, places[i]!);
      placed.push(...missing);
    }
    return { placed, left };
  }

  #placeOrdered(tier: Tier, rows: readonly PolicyRow[]): PlacedRules {
    const sorted = [...rows].sort(byPrecedence);
    const left: PolicyRow[] = [];
    for (;;) {
      const present = sorted.map(({ rules }) => rules.map((rule) => this.#numbers.get(rule)));
      const places = placesInOrder(present, tierRegions[tier], (n) => !this.#used.has(n));
      if (places) {
        const rules = sorted.flatMap((row) => row.rules);
        const moved = rules.filter((rule, i) => this.#numbers.get(rule) !== places[i]);
        const numbers = places.filter((place, i) => this.#numbers.get(rules[i]!) !== place);
        this.retire(moved);
        for (const [i, rule] of moved.entries()) this.#assign(rule, numbers[i]!);
        return { placed: moved, left };
      }
      const last = sorted.findLastIndex(({ rules }) => rules.some((r) => !this.#numbers.has(r)));
      left.unshift(...sorted.splice(last, 1));
    }
  }

  #assign(rule: PolicyRule, number: number): void {
    this.#numbers.set(rule, number);
    this.#rules[number] = rule;
    this.#used.add(number);
  }
}

/** Compares policies of a tier: the one that decides first comes first. */
function byPrecedence(a: PolicyRow, b: PolicyRow): number {
  return a.priority - b.priority || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
}
