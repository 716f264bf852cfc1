import type { PolicyRule } from './rows.ts';

/** A rule of the model. */
export interface ModelRule extends PolicyRule {
  /** Rules are numbered in the order of their creation. */
  readonly id: number;
}

/** A set of rules. There is one object for each set that is in use, so equal sets are identical. */
export class RuleSet {
  /** Sorted by id. */
  readonly list: readonly ModelRule[];
  readonly rules: ReadonlySet<ModelRule>;
  readonly key: string;
  /** The number of references; see RuleSets.replace. */
  uses = 0;

  constructor(list: readonly ModelRule[], key: string) {
    this.list = list;
    this.rules = new Set(list);
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
    return this.#sorted([...rules].sort((a, b) => a.id - b.id));
  }

  with(set: RuleSet, rule: ModelRule): RuleSet {
    if (set.rules.has(rule)) return set;
    return memo(this.#with, set, rule, () => {
      const isLast = (set.list.at(-1)?.id ?? 0) < rule.id;
      return isLast ? this.#sorted([...set.list, rule]) : this.of([...set.list, rule]);
    });
  }

  without(set: RuleSet, rule: ModelRule): RuleSet {
    if (!set.rules.has(rule)) return set;
    return memo(this.#without, set, rule, () =>
      this.#sorted(set.list.filter((each) => each !== rule)),
    );
  }

  union(a: RuleSet, b: RuleSet): RuleSet {
    if (a === this.empty || a === b) return b;
    if (b === this.empty) return a;
    return memo(this.#unions, a, b, () => this.#sorted(merged(a.list, b.list)));
  }

  #sorted(list: readonly ModelRule[]): RuleSet {
    let key = '';
    for (const { id } of list) key += `${id} `;
    const known = this.#byKey.get(key);
    if (known) return known;
    const made = new RuleSet(list, key);
    this.#byKey.set(key, made);
    this.#unused.add(made);
    return made;
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

/** Returns the rules of two sorted lists, each once. */
function merged(a: readonly ModelRule[], b: readonly ModelRule[]): readonly ModelRule[] {
  const list: ModelRule[] = [];
  let [i, k] = [0, 0];
  while (i < a.length || k < b.length) {
    const [first, second] = [a[i], b[k]];
    if (second === undefined || (first !== undefined && first.id <= second.id)) {
      list.push(first!);
      if (first === second) k++;
      i++;
    } else {
      list.push(second);
      k++;
    }
  }
  return list;
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
