import { podRowName, type ServiceModel, type ServiceRow } from '@heddle/services';
import type { Reconciler, Table } from '@heddle/state';

/** Services and pods without a row, because no version of them could be used yet: `namespace/name`. */
export function ownersWithoutRow(
  model: ServiceModel,
  hasRow: (prefix: string) => boolean,
): string[] {
  const owners = new Set<string>();
  for (const { kind, namespace, name } of model.problems.values()) {
    if (kind !== 'service' && kind !== 'pod') continue;
    const owner = `${namespace}/${kind === 'pod' ? podRowName(name) : name}`;
    if (!hasRow(`${owner}:`)) owners.add(owner);
  }
  return [...owners];
}

/**
 * Rows by state, as the list of services shows them: a row whose newest version can't be used has failed,
 * though the last good one is programmed, and so has a service without a row.
 */
export function rowCounts(
  table: Table<ServiceRow>,
  reconciler: Reconciler<ServiceRow>,
  model: ServiceModel,
): { done: number; pending: number; failed: number } {
  const { done, pending, failed } = reconciler.counts();
  const counts = { done, pending, failed };
  if (model.problems.size === 0) return counts;
  const owners = new Set<string>();
  for (const { key, namespace, name } of table.rows()) {
    const owner = `${namespace}/${name}`;
    owners.add(`${owner}:`);
    const state = reconciler.status(key)?.state;
    if (state === undefined || state === 'failed' || !model.problemOf(owner)) continue;
    counts[state]--;
    counts.failed++;
  }
  counts.failed += ownersWithoutRow(model, (prefix) => owners.has(prefix)).length;
  return counts;
}
