import { podRowName, type ServiceModel, type ServiceRow } from '@heddle/services';
import type { Rows } from '../../rows.ts';
import type { RowCounts } from '../../status.ts';

/** Returns the services and pods (`namespace/name`) without a row, as no version of them could be used yet. */
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
 * Counts the rows by state, as the list of services shows them: a row whose newest version cannot be used has
 * failed, although the last good one is programmed, and so has a service without a row.
 */
export function rowCounts(rows: Rows<ServiceRow>, model: ServiceModel): RowCounts {
  const counts = { ...rows.counts() };
  if (model.problems.size === 0) return counts;
  const owners = new Set<string>();
  for (const { key, namespace, name } of rows.all()) {
    const owner = `${namespace}/${name}`;
    owners.add(`${owner}:`);
    const state = rows.status(key)?.state;
    if (state === undefined || state === 'failed' || !model.problemOf(owner)) continue;
    counts[state]--;
    counts.failed++;
  }
  counts.failed += ownersWithoutRow(model, (prefix) => owners.has(prefix)).length;
  return counts;
}
