import type { PolicyRule } from './rows.ts';

/** A rule of the model. */
export interface ModelRule extends PolicyRule {
  /** Rules are numbered in the order of their creation. */
  readonly id: number;
}

/** A set of rules. There is one object for each set that is in use, so equal sets are identical. */
export class RuleSet {
  /** Sorted by id. */
  readonly rules: ReadonlySet<ModelRule>;
  readonly key: string;
  /** The number of references; see RuleSets.retain. */
  uses = 0;

  constructor(rules: readonly ModelRule[], key: string) {
    this.rules = new Set(rules);
    this.key = key;
  }
}

/**
 * All sets of rules. Thousands of groups of pods have the same few sets, and a change leads them to the same few others, so
 * each step is computed once per update and then looked up.
 */
export class RuleSets {
  readonly empty = new RuleSet([], '');
  readonly #byKey = new Map<string, RuleSet>([['', this.empty]]);
  readonly #unused = new Set<RuleSet>();
  readonly #with = new Map<RuleSet, Map<ModelRule, RuleSet>>();
  readonly #without = new Map<RuleSet, Map<ModelRule, RuleSet>>();
  readonly #unions = new Map<RuleSet, Map<RuleSet, RuleSet>>();

  of(rules: Iterable<ModelRule>): RuleSet {
    const sorted = [...rules].sort((a, b) => a.id - b.id);
    const key = sorted.map(({ id }) => id).join(' ');
    const known = this.#byKey.get(key);
    if (known) return known;
    const made = new RuleSet(sorted, key);
    this.#byKey.set(key, made);
    this.#unused.add(made);
    return made;
  }

  with(set: RuleSet, rule: ModelRule): RuleSet {
    if (set.rules.has(rule)) return set;
    return memo(this.#with, set, rule, () => this.of([...set.rules, rule]));
  }

  without(set: RuleSet, rule: ModelRule): RuleSet {
    if (!set.rules.has(rule)) return set;
    return memo(this.#without, set, rule, () =>
      this.of([...set.rules].filter((each) => each !== rule)),
    );
  }

  union(a: RuleSet, b: RuleSet): RuleSet {
    if (a === this.empty || a === b) return b;
    if (b === this.empty) return a;
    return memo(this.#unions, a, b, () => this.of(new Set([...a.rules, ...b.rules])));
  }

  /** Counts a reference, and gives up the one to the set that was referred to before. */
  replace(before: RuleSet | undefined, after: RuleSet | undefined): void {
    if (after) after.uses++;
    if (before && --before.uses === 0) this.#unused.add(before);
  }

  /** Drops the steps, and the sets without a reference. */
  endUpdate(): void {
    for (const map of [this.#with, this.#without, this.#unions]) map.clear();
    for (const set of this.#unused) {
      if (set.uses === 0 && set !== this.empty) this.#byKey.delete(set.key);
    }
    this.#unused.clear();
  }
}

function memo<A, B, Result>(
  steps: Map<A, Map<B, Result>>,
  a: A,
  b: B,
  compute: () => Result,
): Result {
  let row = steps.get(a);
  if (!row) {
    row = new Map();
    steps.set(a, row);
  }
  let result = row.get(b);
  if (result === undefined) {
    result = compute();
    row.set(b, result);
  }
  return result;
}
