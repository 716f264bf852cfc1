/** The content of a table at one revision. Later writes to the table do not change it. */
export interface Snapshot<Row> {
  readonly revision: number;
  readonly rows: readonly Row[];
}

/** The difference between a table and its state at an earlier revision. */
export interface TableChanges<Row> {
  /** The revision after these changes. */
  readonly revision: number;
  /** Rows as they are now, each once, in the order of their last change. */
  readonly upserted: readonly Row[];
  /** Keys of removed rows. */
  readonly removed: readonly string[];
  /**
   * False if the log of the table does not reach back to that revision: `upserted` then holds all rows, and
   * any other row was removed.
   */
  readonly incremental: boolean;
}

/**
 * The desired rows, by key. Rows are immutable: a change replaces the row. Every write has its own revision,
 * and the table logs the keys of the latest writes, so that a reader catches up without reading every row.
 */
export class Table<Row extends { readonly key: string }> {
  readonly #rows = new Map<string, Row>();
  /** The keys of the latest writes; the last entry belongs to `#revision`. */
  #log: string[] = [];
  #revision = 0;

  get revision(): number {
    return this.#revision;
  }

  get size(): number {
    return this.#rows.size;
  }

  get(key: string): Row | undefined {
    return this.#rows.get(key);
  }

  /** Returns the present rows. Take a snapshot to write to the table while iterating. */
  rows(): Iterable<Row> {
    return this.#rows.values();
  }

  /** Removes keys, then writes rows; a missing key is ignored. Returns the new revision. */
  apply(changes: { readonly upserted: Iterable<Row>; readonly removed: Iterable<string> }): number {
    for (const key of changes.removed) {
      if (this.#rows.delete(key)) this.#note(key);
    }
    for (const row of changes.upserted) {
      if (this.#rows.get(row.key) === row) continue;
      this.#rows.set(row.key, row);
      this.#note(row.key);
    }
    return this.#revision;
  }

  snapshot(): Snapshot<Row> {
    return { revision: this.#revision, rows: [...this.#rows.values()] };
  }

  /** Returns the changes after `revision` (0: before the first write). */
  changesSince(revision: number): TableChanges<Row> {
    const missed = this.#revision - revision;
    if (missed > this.#log.length) {
      return { ...this.#changes([...this.#rows.keys()]), incremental: false };
    }
    // Only the last write of a key counts, also for the order.
    const keys = new Set<string>();
    for (let i = this.#log.length - 1; i >= this.#log.length - missed; i--) keys.add(this.#log[i]!);
    return { ...this.#changes([...keys].reverse()), incremental: true };
  }

  #changes(keys: readonly string[]): Omit<TableChanges<Row>, 'incremental'> {
    const upserted: Row[] = [];
    const removed: string[] = [];
    for (const key of keys) {
      const row = this.#rows.get(key);
      if (row) upserted.push(row);
      else removed.push(key);
    }
    return { revision: this.#revision, upserted, removed };
  }

  #note(key: string): void {
    this.#revision++;
    this.#log.push(key);
    // Beyond two writes per row, reading all rows costs no more than reading the log.
    const most = Math.max(1024, 2 * this.#rows.size);
    if (this.#log.length > 2 * most) this.#log = this.#log.slice(-most);
  }
}
