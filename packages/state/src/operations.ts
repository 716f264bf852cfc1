/** What can be done to the target (the kernel) that a table of desired rows is reconciled with. */
export interface Operations<Row> {
  /**
   * Brings rows into force, whether they are new, changed or there already (idempotent). Returns,
   * for each row in order, undefined or the error that kept it from coming into force; what was in
   * force for a failed row stays in force.
   */
  update(rows: readonly Row[]): readonly (Error | undefined)[];
  /** Takes rows out of force by key; a missing one is fine. */
  remove(keys: readonly string[]): readonly (Error | undefined)[];
  /** Removes whatever the target holds that no row of `desired` accounts for. */
  prune(desired: Iterable<Row>): void;
}
