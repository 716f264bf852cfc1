import { type FlowEntry, readFlows } from '@heddle/datapath';
import { type Dump, entriesOf, mapNamed } from './dump.ts';

/** Converts CLOCK_MONOTONIC to the ticks of the BPF programs (TICK_SHIFT in the ABI). */
const ticks = (nanoseconds: bigint) => Number(nanoseconds >> 30n);

/** Returns the flows in the conntrack table of a dump. */
export function flowsOf(dump: Dump): FlowEntry[] {
  const sources = new Map<number, Uint8Array>();
  const numbered = (name: string) => {
    const map = mapNamed(dump, name);
    return Array.from(map ? entriesOf(map) : [], ([key, value]) => ({
      number: new DataView(key.buffer, key.byteOffset).getUint32(0, true),
      value,
    }));
  };
  for (const { number, value } of numbered('nat_sources')) sources.set(number, value);
  const now = ticks(dump.head.monotonicNs);
  const addressOf = (source: number) => (source === 0 ? undefined : sources.get(source));
  return numbered('nat_flows').flatMap(({ number, value }) =>
    Array.from(readFlows(value, now, addressOf), (flow) => ({ ...flow, number })),
  );
}
