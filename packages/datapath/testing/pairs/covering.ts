/** Levels of each factor, by the factor's name. */
export type Factors = Readonly<Record<string, readonly unknown[]>>;
export type CaseOf<F extends Factors> = { readonly [name in keyof F]: F[name][number] };

/**
 * Returns few cases in which every combination of levels of any `strength` factors occurs. Each case begins with a
 * combination that is not covered yet, and takes for every other factor the level that covers most with what
 * the case has so far (D. Cohen et al., The AETG system, IEEE TSE 23/7, 1997, without its random choices). The same
 * factors always give the same cases. If several levels cover equally many combinations, it takes `the first`, so
 * that the usual levels, which hide least of the others' effects, are frequent, or takes them `in turn`.
 */
export function coveringCases<F extends Factors>(
  factors: F,
  strength: number,
  equals: 'the first' | 'in turn' = 'the first',
): CaseOf<F>[] {
  const names = Object.keys(factors);
  const open = new Set<string>();
  for (const chosen of subsets(names.length, strength)) {
    for (const levels of levelsOf(chosen.map((i) => factors[names[i]!]!.length))) {
      open.add(keyOf(chosen, levels));
    }
  }
  const cases: CaseOf<F>[] = [];
  for (const [first] of iterateOpen(open)) {
    const levels: (number | undefined)[] = names.map(() => undefined);
    for (const part of first.split(',')) {
      const [factor, level] = part.split('=').map(Number) as [number, number];
      levels[factor] = level;
    }
    // Begin where the case is in turn, so that no factor always comes last.
    for (let turn = 0; turn < names.length; turn++) {
      const factor = (turn + cases.length) % names.length;
      if (levels[factor] !== undefined) continue;
      const count = factors[names[factor]!]!.length;
      const from = equals === 'the first' ? 0 : cases.length;
      let [best, most] = [0, -1];
      for (let step = 0; step < count; step++) {
        const level = (step + from) % count;
        levels[factor] = level;
        const gained = coveredBy(levels, factor, strength).filter((key) => open.has(key)).length;
        if (gained > most) [best, most] = [level, gained];
      }
      levels[factor] = best;
    }
    for (let factor = 0; factor < names.length; factor++) {
      for (const key of coveredBy(levels, factor, strength)) open.delete(key);
    }
    cases.push(
      Object.fromEntries(names.map((name, i) => [name, factors[name]![levels[i]!]])) as CaseOf<F>,
    );
  }
  return cases;
}

/** Yields the first uncovered combination, as long as there is one. */
function* iterateOpen(open: ReadonlySet<string>): Generator<[string]> {
  for (;;) {
    const [first] = open;
    if (first === undefined) return;
    yield [first];
  }
}

/** Combinations of a factor with others that have a level. */
function coveredBy(
  levels: readonly (number | undefined)[],
  factor: number,
  strength: number,
): string[] {
  const others = levels.flatMap((level, i) => (level === undefined || i === factor ? [] : [i]));
  return subsets(others.length, strength - 1).map((chosen) => {
    const all = [...chosen.map((i) => others[i]!), factor].sort((a, b) => a - b);
    return keyOf(
      all,
      all.map((i) => levels[i]!),
    );
  });
}

const keyOf = (factors: readonly number[], levels: readonly number[]) =>
  factors.map((factor, i) => `${factor}=${levels[i]}`).join();

/** Ascending lists of `size` numbers below `count`. */
function subsets(count: number, size: number, from = 0): number[][] {
  if (size === 0) return [[]];
  const found: number[][] = [];
  for (let first = from; first <= count - size; first++) {
    for (const rest of subsets(count, size - 1, first + 1)) found.push([first, ...rest]);
  }
  return found;
}

function levelsOf(counts: readonly number[]): number[][] {
  const [count, ...rest] = counts;
  if (count === undefined) return [[]];
  const others = levelsOf(rest);
  return Array.from({ length: count }, (_, level) => others.map((each) => [level, ...each])).flat();
}
