import type { DenyResponse } from '@heddle/objects';
import type { Direction, Subject } from './rows.ts';
import type { ModelRule } from './rule-sets.ts';

/** The rules of one direction. */
export interface Selection {
  readonly rules: readonly ModelRule[];
  readonly isIsolated: boolean;
  /** The response to what no rule allows, if it is not that of the agent. */
  readonly denyResponse?: DenyResponse;
}

interface Entry {
  readonly subject: Subject;
  uses: number;
}

/** All subjects in use: pods with the same rules share one object. */
export class SubjectTable {
  readonly #byKey = new Map<string, Entry>();
  readonly #keys = new Map<Subject, string>();

  get size(): number {
    return this.#byKey.size;
  }

  /**
   * Returns the subject of these rules, and counts a use of it; undefined if nothing applies. `audited` has the enforced rules
   * and those in audit mode; undefined if there are none of these.
   */
  acquire(
    direction: Direction,
    enforced: Selection,
    audited: Selection | undefined,
  ): Subject | undefined {
    if (enforced.rules.length === 0 && !enforced.isIsolated && !audited) return undefined;
    const key = `${direction} ${keyOf(enforced)} ${audited ? keyOf(audited) : ''}`;
    let entry = this.#byKey.get(key);
    if (!entry) {
      entry = { subject: { direction, ...enforced, audited }, uses: 0 };
      this.#byKey.set(key, entry);
      this.#keys.set(entry.subject, key);
    }
    entry.uses++;
    return entry.subject;
  }

  release(subject: Subject | undefined): void {
    if (!subject) return;
    const key = this.#keys.get(subject)!;
    const entry = this.#byKey.get(key)!;
    if (--entry.uses > 0) return;
    this.#byKey.delete(key);
    this.#keys.delete(subject);
  }
}

function keyOf({ rules, isIsolated, denyResponse }: Selection): string {
  return `${isIsolated ? 'isolated' : ''} ${denyResponse ?? ''} ${rules.map(({ id }) => id).join(',')}`;
}
