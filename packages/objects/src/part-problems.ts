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

  get sentences(): readonly string[] {
    return compactList(this.#sentences);
  }
}
