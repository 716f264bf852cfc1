import type { BpfMap } from '@heddle/ebpf';
import type { ReasonCount } from '../core/drop-reasons.ts';
import { sumOfCpus } from '../core/per-cpu.ts';
import { ctEvent } from '../generated/abi.ts';

type EventTexts = readonly (readonly [event: number, text: string])[];

const evictions: EventTexts = [
  [ctEvent.evictedOldest, 'the oldest that was not confirmed'],
  [ctEvent.evictedService, 'its service, or UDP, had more than its share'],
  [ctEvent.evictedSource, 'its client had more than its share'],
  [ctEvent.evictedClosed, 'its connection was closed'],
  [ctEvent.evictedPort, 'a new flow needed its SNAT port'],
  [ctEvent.evictedBucket, 'a new flow needed its slot of the index'],
];

const invalidSegments: EventTexts = [
  [ctEvent.invalidAck, 'ACK'],
  [ctEvent.invalidSyn, 'SYN'],
  [ctEvent.invalidFin, 'FIN'],
  [ctEvent.invalidRst, 'RST'],
];

/** Flows evicted for new ones since the maps were made, by why they were chosen. Throws SysError. */
export const evictionCounts = (flowEvents: BpfMap) => counts(flowEvents, evictions);

/** TCP segments outside of their connection's window, which changed nothing about the flow, by flag. Throws SysError. */
export const invalidSegmentCounts = (flowEvents: BpfMap) => counts(flowEvents, invalidSegments);

/** Connections that are not observed, because the table had no room for them, since the maps were made. Throws SysError. */
export const unobservedCount = (flowEvents: BpfMap) => sumOfCpus(flowEvents, ctEvent.unobserved);

function counts(flowEvents: BpfMap, texts: EventTexts): ReasonCount[] {
  return texts.map(([event, reason]) => ({ reason, count: sumOfCpus(flowEvents, event) }));
}
