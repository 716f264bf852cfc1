import type { BpfMap } from '@heddle/ebpf';
import { flowEvent } from '../generated/abi.ts';

/** The number of times that something happened, with its text. */
export interface EventCount {
  readonly reason: string;
  readonly count: number;
}

/** The reasons why a flow was evicted for a new one. */
export const evictionText: Readonly<Record<number, string>> = {
  [flowEvent.evictedOldest]: 'the oldest that was not confirmed',
  [flowEvent.evictedService]: 'its service, or UDP, had more than its share',
  [flowEvent.evictedSource]: 'its client had more than its share',
  [flowEvent.evictedOver]: 'its connection was over',
  [flowEvent.evictedPort]: 'a new flow needed its SNAT port',
  [flowEvent.evictedBucket]: 'a new flow needed its slot of the index',
};

/** Segments of TCP that changed nothing about their flow, by what they claim. */
export const notBelievedText: Readonly<Record<number, string>> = {
  [flowEvent.unbelievedAck]: 'ACK',
  [flowEvent.unbelievedSyn]: 'SYN',
  [flowEvent.unbelievedFin]: 'FIN',
  [flowEvent.unbelievedRst]: 'RST',
};

/** Sums over all CPUs of those entries of `flow_events` that `text` has words for. */
export function eventCounts(map: BpfMap, text: Readonly<Record<number, string>>): EventCount[] {
  return Object.entries(text).map(([number, reason]) => {
    const values = map.lookup(Uint8Array.of(Number(number), 0, 0, 0))!;
    const perCpu = new BigUint64Array(values.slice().buffer);
    return { reason, count: Number(perCpu.reduce((sum, count) => sum + count, 0n)) };
  });
}
