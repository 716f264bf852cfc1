import { compactList } from './memory.ts';

/** Collects sentences about parts of a policy that can't be used. */
export class PartProblems {
  readonly #sentences: string[] = [];

  /** `rule` has the remedy and the consequence. */
  add(field: string, value: unknown, rule: string): void {
    const what = value === undefined || value === null ? 'missing' : JSON.stringify(value);
    const shown = what.length > 80 ? `${what.slice(0, 77)}...` : what;
    this.#sentences.push(`${field} is ${shown}: ${rule}`);
  }

  /** Adds a sentence if a part has more than the API server accepts. Heddle uses all of it: no rule may be lost. */
  limit(field: string, count: number, most: number, unit: string): void {
    if (count <= most) return;
    const rest = 'the API server refuses more, and Heddle uses all';
    this.#sentences.push(`${field} is ${count} ${unit}: must have at most ${most}; ${rest}`);
  }

  get sentences(): readonly string[] {
    return compactList(this.#sentences);
  }
}
