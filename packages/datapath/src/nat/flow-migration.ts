import type { DatapathMaps } from '../core/datapath-maps.ts';
import { decodeCtTable } from '../generated/abi.ts';

/** Maps that a BPF program fills from the flows when they are new. */
const derivedMaps = ['nat_index', 'nat_evictable', 'nat_shares', 'nat_held'];

/**
 * Replaces maps that no longer fit together after a change of sizes. Flows refer to each other by their index in
 * the table. When a smaller table lacks entries that were in use, all flows are deleted: later packets of their
 * connections are reset. Throws SysError.
 */
export function renewUnfitFlowMaps(maps: DatapathMaps): void {
  const { highWater } = decodeCtTable(maps.get('nat_table').lookup(new Uint8Array(4))!);
  if (highWater >= maps.get('nat_flows').info.maxEntries) {
    for (const name of ['nat_flows', 'nat_windows', 'nat_facts', 'nat_table', ...derivedMaps]) {
      maps.renew(name, 'flows do not fit; the table is empty');
    }
  } else if (maps.wasReplaced('nat_index')) {
    // The position of a key in the index depends on the index's size.
    for (const name of derivedMaps) maps.renew(name);
  }
}

/** Returns true when the maps that a BPF program fills from the flows are empty yet. */
export function needsEnteredFlows(maps: DatapathMaps): boolean {
  return derivedMaps.some((name) => maps.isUnpinned(name));
}
