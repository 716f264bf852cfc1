import { withPublicSecret } from '@heddle/datapath';
import { type Dump, type DumpedMap, entriesOf, mapNamed } from './dump.ts';

/** Returns the dump with a public secret of the flow table in place of the node's; see withPublicSecret. */
export function withoutSecret(dump: Dump): Dump {
  const [table, index] = [mapNamed(dump, 'nat_table'), mapNamed(dump, 'nat_index')];
  const [flows, sources] = [mapNamed(dump, 'nat_flows'), mapNamed(dump, 'nat_sources')];
  if (!table || !index || !flows || !sources) return dump;
  const changed = withPublicSecret({
    table: entriesOf(table),
    index: entriesOf(index),
    flows: entriesOf(flows),
    sources: entriesOf(sources),
    buckets: index.info.maxEntries,
  });
  if (!changed) return dump;
  const maps = new Map(dump.maps);
  maps.set(table.info.id, withElements(table, changed.table));
  maps.set(index.info.id, withElements(index, changed.index));
  return { ...dump, maps };
}

function withElements(
  map: DumpedMap,
  elements: Iterable<readonly [key: Uint8Array, value: Uint8Array]>,
): DumpedMap {
  const parts = [...elements].flat();
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return { ...map, entries: [bytes] };
}
