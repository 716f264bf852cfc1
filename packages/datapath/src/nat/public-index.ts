import { wordBytes, wordOf } from '../core/keyed-map.ts';
import { decodeCtTable, encodeCtTable } from '../generated/abi.ts';
import { rehashed } from './flow-index.ts';
import type { MapElements } from './flows.ts';

/** The elements of the maps of flows. */
export interface FlowMapElements {
  /** `nat_table` */
  readonly table: MapElements;
  /** `nat_index` */
  readonly index: MapElements;
  /** `nat_flows` */
  readonly flows: MapElements;
  /** `nat_sources` */
  readonly sources: MapElements;
  /** The size of `nat_index`. */
  readonly buckets: number;
}

/**
 * Returns elements of `nat_table` and `nat_index` with a secret that is public. Who knows the node's secret can choose
 * tuples that collide in the index, and the positions of flows in it reveal the secret too, so the index is rebuilt.
 * Flows are found in it as before. Returns undefined when the table is empty.
 */
export function withPublicSecret({
  table,
  index,
  flows,
  sources,
  buckets,
}: FlowMapElements): { readonly table: MapElements; readonly index: MapElements } | undefined {
  const [found] = [...table];
  if (!found) return undefined;
  const [key, value] = found;
  const state = decodeCtTable(value);
  const secret = state.secret.map((_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 0);
  const publicTable = value.slice();
  encodeCtTable({ ...state, secret }, publicTable);
  const [flowOf, sourceOf] = [flows, sources].map(
    (elements) => new Map(Array.from(elements, ([each, bytes]) => [wordOf(each), bytes])),
  );
  const values = rehashed(
    {
      buckets,
      index: Array.from(index, ([each, bytes]) => [wordOf(each), bytes]),
      flow: (number) => flowOf!.get(number),
      source: (number) => sourceOf!.get(number),
    },
    secret,
  );
  return {
    table: [[key, publicTable]],
    index: Array.from(values, ([number, bytes]) => [wordBytes(number), bytes] as const),
  };
}
