/** What a table held at one revision. Later writes to the table don't show in it. */
export interface Snapshot<Row> {
  readonly revision: number;
  readonly rows: readonly Row[];
}

/** How a table differs from what it was at an earlier revision. */
export interface TableChanges<Row> {
  /** The revision that these changes lead to. */
  readonly revision: number;
  /** Rows as they are now, each once, in the order of their last change. */
  readonly upserted: readonly Row[];
  /** Keys of rows that are gone. */
  readonly removed: readonly string[];
  /**
   * False when the table doesn't remember that far back: `upserted` then holds all rows, and rows
   * that aren't in it are gone.
   */
  readonly incremental: boolean;
}

/**
 * The desired rows, by key. Rows are immutable: a change is another row in the same place. Every
 * write has a revision of its own, and the table remembers the keys of the latest writes, so that a
 * reader can catch up without looking at every row.
 */
export class Table<Row extends { readonly key: string }> {
  readonly #rows = new Map<string, Row>();
  /** Keys of the latest writes; the last entry is that of `#revision`. */
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

  /** All rows as they are now. Don't write to the table while iterating: take a snapshot for that. */
  rows(): Iterable<Row> {
    return this.#rows.values();
  }

  /** Writes rows and removes keys; a key that is not there is passed over. Returns the revision. */
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

  /** What happened after `revision` (0: before anything was written). */
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
    // Beyond two writes a row, reading everything is no dearer than reading the log.
    const most = Math.max(1024, 2 * this.#rows.size);
    if (this.#log.length > 2 * most) this.#log = this.#log.slice(-most);
  }
}
