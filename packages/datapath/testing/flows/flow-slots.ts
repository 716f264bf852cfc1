import type { BpfMap } from '@heddle/ebpf';
import { decodeCtBucket } from '../../src/generated/abi.ts';

/** A key of a flow in `nat_index`, by the number of the flow. */
export interface FlowSlot {
  /** Index in `nat_flows`. */
  readonly flow: number;
  readonly isReply: boolean;
}

/** Returns all keys that there are in an index of flows. */
export function* flowSlots(index: BpfMap): Generator<FlowSlot> {
  for (const [, bucket] of index.entries()) {
    for (const slot of decodeCtBucket(bucket).slots) {
      const reference = Number(slot & 0xffff_ffffn);
      if (slot !== 0n) yield { flow: reference >>> 1, isReply: (reference & 1) === 1 };
    }
  }
}
