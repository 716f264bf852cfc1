/** The operations on the target (the kernel) with which a table of desired rows is reconciled. */
export interface Operations<Row> {
  /**
   * Programs rows, whether they are new, changed or present already (idempotent). Returns, for each row in
   * order, undefined or the error; the last programmed version of a failed row stays.
   */
  update(rows: readonly Row[]): readonly (Error | undefined)[];
  /** Removes rows by key; a missing row is no error. Returns as `update` does. */
  remove(keys: readonly string[]): readonly (Error | undefined)[];
  /** Removes whatever the target holds that no row of `desired` accounts for. */
  prune(desired: Iterable<Row>): void;
}
