import type { BpfMap } from '@heddle/ebpf';
import { ctEvent } from '../generated/abi.ts';

/** The number of times that something happened, with its text. */
export interface EventCount {
  readonly reason: string;
  readonly count: number;
}

/** The reasons why a flow was evicted for a new one. */
export const evictionText: Readonly<Record<number, string>> = {
  [ctEvent.evictedOldest]: 'the oldest that was not confirmed',
  [ctEvent.evictedService]: 'its service, or UDP, had more than its share',
  [ctEvent.evictedSource]: 'its client had more than its share',
  [ctEvent.evictedClosed]: 'its connection was over',
  [ctEvent.evictedPort]: 'a new flow needed its SNAT port',
  [ctEvent.evictedBucket]: 'a new flow needed its slot of the index',
};

/** Segments of TCP that changed nothing about their flow, by what they claim. */
export const notBelievedText: Readonly<Record<number, string>> = {
  [ctEvent.invalidAck]: 'ACK',
  [ctEvent.invalidSyn]: 'SYN',
  [ctEvent.invalidFin]: 'FIN',
  [ctEvent.invalidRst]: 'RST',
};

/** Sums over all CPUs of those entries of `flow_events` that `text` has words for. */
export function eventCounts(map: BpfMap, text: Readonly<Record<number, string>>): EventCount[] {
  return Object.entries(text).map(([number, reason]) => {
    const values = map.lookup(Uint8Array.of(Number(number), 0, 0, 0))!;
    const perCpu = new BigUint64Array(values.slice().buffer);
    return { reason, count: Number(perCpu.reduce((sum, count) => sum + count, 0n)) };
  });
}
