import type { RuleSet, Vectors } from './vectors.ts';

/** The held rules of a vector. */
export interface KeptRules {
  readonly numbers: readonly number[];
  /** Equal for the same rules only. */
  readonly text: string;
}

const noRules: KeptRules = { numbers: [], text: '' };

/** The held rules of each vector, while no vector gains or loses rules. */
export class HeldRules {
  readonly #vectors: Vectors;
  readonly #held: RuleSet;
  readonly #known = new Map<number, KeptRules>();
  readonly #isEmpty: boolean;

  constructor(vectors: Vectors, held: RuleSet) {
    this.#vectors = vectors;
    this.#held = held;
    this.#isEmpty = held.isEmpty;
  }

  of(vector: number): KeptRules {
    if (this.#isEmpty) return noRules;
    const known = this.#known.get(vector);
    if (known) return known;
    const rules = this.#vectors.rules(vector);
    rules.intersect(this.#held);
    const numbers = [...rules];
    const kept = { numbers, text: numbers.join() };
    this.#known.set(vector, kept);
    return kept;
  }
}
