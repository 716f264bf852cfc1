import { isIpv4 } from '@heddle/sys';
import { protocolNumbers } from '../core/protocols.ts';
import {
  decodeCtBucket,
  decodeCtEntry,
  encodeCtBucket,
  encodeTuple,
  tupleSize,
} from '../generated/abi.ts';
import { protocolOfState, snatIndexOf } from './flows.ts';

// The index of flows, as in bpf/ct/index.h: the position of a flow's tuple in `nat_index`.

const slotsOfBucket = 16;
const mask32 = 0xffff_ffffn;

/** The maps that the index and its tuples depend on. */
export interface IndexedFlows {
  /** The number of buckets. */
  readonly buckets: number;
  /** Values of `nat_index` by their number. */
  readonly index: Iterable<readonly [bucket: number, value: Uint8Array]>;
  /** Returns an entry of `nat_flows`. */
  readonly flow: (index: number) => Uint8Array | undefined;
  /** Returns an entry of `nat_sources`. */
  readonly source: (index: number) => Uint8Array | undefined;
}

/** Returns the tuple of a slot, or undefined when its flow has ended meanwhile. */
export function keyOfSlot(slot: bigint, { flow, source }: IndexedFlows): Uint8Array | undefined {
  const reference = Number(slot & mask32);
  const bytes = flow(reference >>> 1);
  const found = bytes && decodeCtEntry(bytes);
  const protocol = found && protocolOfState(found.stateWord);
  if (!found || !protocol) return undefined;
  const { client, frontend, backend, clientPort, frontendPort, backendPort, sourcePort } = found;
  const index = snatIndexOf(found.stateWord);
  const seen = index === 0 ? client : source(index);
  if (!seen) return undefined;
  const isReply = (reference & 1) === 1;
  const key = new Uint8Array(tupleSize);
  encodeTuple(
    {
      source: isReply ? backend : client,
      destination: isReply ? seen : frontend,
      sourcePort: isReply ? backendPort : clientPort,
      destinationPort: isReply ? sourcePort : frontendPort,
      protocol: protocol === 'ICMP' ? icmpNumber(client) : protocolNumbers[protocol],
    },
    key,
  );
  return key;
}

/** Returns the protocol number of ICMP for the family of an address. */
const icmpNumber = (address: Uint8Array) => (isIpv4(address) ? 1 : 58);

/** Returns the bucket and tag of a tuple, as ct_index_hash(), ct_bucket_of() and ct_slot_tag() do. */
export function placeOfKey(key: Uint8Array, secret: readonly number[], buckets: number) {
  const view = new DataView(key.buffer, key.byteOffset, key.length);
  const word = (i: number) => BigInt((view.getUint32(4 * i, true) + secret[i]!) >>> 0);
  let sum = 0n;
  for (let i = 0; i < secret.length; i += 2) sum += word(i) * word(i + 1);
  sum = BigInt.asUintN(64, sum);
  const hash = BigInt.asUintN(64, (sum ^ (sum >> 32n)) * 0x9e37_79b9_7f4a_7c15n);
  return {
    bucket: Number(((hash >> 32n) * BigInt(buckets)) >> 32n),
    tag: ((hash >> 16n) & 0xffffn) | 1n,
  };
}

/**
 * Returns the same index built with another secret: values of `nat_index` by their number. Tuples whose new bucket is full
 * are left out, and those whose flow has ended meanwhile.
 */
export function rehashed(
  flows: IndexedFlows,
  secret: readonly number[],
): ReadonlyMap<number, Uint8Array> {
  const slots = new Map<number, bigint[]>();
  for (const [, value] of flows.index) {
    for (const slot of decodeCtBucket(value).slots) {
      const key = slot === 0n ? undefined : keyOfSlot(slot, flows);
      if (!key) continue;
      const { bucket, tag } = placeOfKey(key, secret, flows.buckets);
      const others = slots.get(bucket) ?? [];
      if (others.length === slotsOfBucket) continue;
      others.push((slot & ~(0xffffn << 32n)) | (tag << 32n));
      slots.set(bucket, others);
    }
  }
  const values = new Map<number, Uint8Array>();
  for (const [bucket, own] of [...slots].sort(([a], [b]) => a - b)) {
    const value = new Uint8Array(8 * slotsOfBucket);
    encodeCtBucket({ slots: Array.from({ length: slotsOfBucket }, (_, i) => own[i] ?? 0n) }, value);
    values.set(bucket, value);
  }
  return values;
}
