export { backoffMs } from './backoff.ts';
export type { Operations } from './operations.ts';
export {
  Reconciler,
  type ReconcilerCounts,
  type ReconcilerOptions,
  type ReconcilerPort,
  RowNotProgrammed,
  type RowStatus,
} from './reconciler.ts';
export { type Snapshot, Table, type TableChanges } from './table.ts';
