import { decodeCtTable, encodeCtTable, rehashed } from '@heddle/datapath';
import { type Dump, type DumpedMap, entriesOf, mapNamed } from './dump.ts';

/**
 * Returns a dump without the secret of the conntrack index: with it, an attacker could craft colliding tuples.
 * The places of flows reveal the secret too, so the index is rebuilt with a public secret; lookups in the dump
 * find the same flows.
 */
export function withoutSecret(dump: Dump): Dump {
  const [table, index, flows, sources] = ['nat_table', 'nat_index', 'nat_flows', 'nat_sources'].map(
    (name) => mapNamed(dump, name),
  );
  if (!table || !index || !flows || !sources) return dump;
  const found = [...entriesOf(table)][0];
  if (!found) return dump;
  const [key, value] = found;
  const { secret } = decodeCtTable(value);
  const known = secret.map((_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 0);
  const flowOf = byNumber(flows);
  const sourceOf = byNumber(sources);
  const values = rehashed(
    {
      buckets: index.info.maxEntries,
      index: Array.from(entriesOf(index), ([number, bucket]) => [numberOf(number), bucket]),
      flow: (number) => flowOf.get(number),
      source: (number) => sourceOf.get(number),
    },
    known,
  );
  const published = value.slice();
  encodeCtTable({ ...decodeCtTable(value), secret: known }, published);
  const maps = new Map(dump.maps);
  maps.set(table.info.id, { ...table, entries: [joined(key, published)] });
  const entries = Array.from(values, ([number, bucket]) => joined(keyOf(number), bucket));
  maps.set(index.info.id, { ...index, entries: [concatenated(entries)] });
  return { ...dump, maps };
}

function byNumber(map: DumpedMap): ReadonlyMap<number, Uint8Array> {
  return new Map(Array.from(entriesOf(map), ([key, value]) => [numberOf(key), value]));
}

function numberOf(key: Uint8Array): number {
  return new DataView(key.buffer, key.byteOffset).getUint32(0, true);
}

function keyOf(number: number): Uint8Array {
  const key = new Uint8Array(4);
  new DataView(key.buffer).setUint32(0, number, true);
  return key;
}

function joined(key: Uint8Array, value: Uint8Array): Uint8Array {
  return concatenated([key, value]);
}

function concatenated(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
