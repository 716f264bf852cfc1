import type { Operations } from '../src/operations.ts';

export interface FakeRow {
  readonly key: string;
  readonly value: number;
}

/** A target with limited room, in place of the kernel; tests make its operations fail. */
export class FakeTarget implements Operations<FakeRow> {
  /** The programmed rows. */
  readonly held = new Map<string, number>();
  /** Every call, in words: `update a b`, `remove c`, `prune`. */
  readonly calls: string[] = [];
  /** The number of rows that fit. */
  room = Number.POSITIVE_INFINITY;
  /** Keys with which every operation fails. */
  readonly stubborn = new Set<string>();
  /** Makes the next calls throw as a whole. */
  broken = false;

  update(rows: readonly FakeRow[]): readonly (Error | undefined)[] {
    this.#call(`update ${rows.map((row) => row.key).join(' ')}`);
    return rows.map((row) => {
      if (this.stubborn.has(row.key)) return new Error(`update ${row.key}: stubborn`);
      if (!this.held.has(row.key) && this.held.size >= this.room) {
        return new Error(`update map things: full (${this.room} entries)`);
      }
      this.held.set(row.key, row.value);
      return undefined;
    });
  }

  remove(keys: readonly string[]): readonly (Error | undefined)[] {
    this.#call(`remove ${keys.join(' ')}`);
    return keys.map((key) => {
      if (this.stubborn.has(key)) return new Error(`remove ${key}: stubborn`);
      this.held.delete(key);
      return undefined;
    });
  }

  prune(desired: Iterable<FakeRow>): void {
    this.#call('prune');
    const keys = new Set([...desired].map((row) => row.key));
    for (const key of [...this.held.keys()]) if (!keys.has(key)) this.held.delete(key);
  }

  /** Returns the calls since the last call of this method. */
  takeCalls(): string[] {
    return this.calls.splice(0);
  }

  #call(words: string): void {
    this.calls.push(words);
    if (this.broken) throw new Error('reach target: it is broken');
  }
}
