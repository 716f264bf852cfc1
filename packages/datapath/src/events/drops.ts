import { type Bpf, type BpfMap, RingBuffer } from '@heddle/ebpf';
import { formatIp, type Platform } from '@heddle/sys';
import { decodeDropEvent, dropReason } from '../generated/abi.ts';

/** Why packets are dropped on the node's devices, in words. */
export const dropText: Readonly<Record<number, string>> = {
  [dropReason.invalidSource]: 'a source address that no packet can have here (forged?)',
  [dropReason.invalid]: 'a header is cut short, impossible or damaged',
  [dropReason.tooLarge]: 'larger than the next link takes; the sender was told',
  [dropReason.write]: 'the packet could not be changed',
  [dropReason.protocol]: 'a protocol that services do not have',
  [dropReason.unknownPort]: 'a port that the service does not have',
  [dropReason.notLocal]: 'no endpoint on this node, and externalTrafficPolicy is Local',
  [dropReason.tableFull]: 'the flow table is full (raise sizes.flows)',
  [dropReason.extensionHeader]: 'too many IPv6 extension headers',
  [dropReason.fragment]: 'a fragment whose first one, with the ports, did not come',
  [dropReason.noBackend]: 'no endpoints',
  [dropReason.noFlow]: 'belongs to no known connection',
  [dropReason.noPort]: 'all ports of this node towards the backend are taken',
  [dropReason.noRoute]: 'no route to the backend or back',
  [dropReason.sourceRange]: 'loadBalancerSourceRanges does not have the client',
  [dropReason.ttl]: 'its time to live is over',
};

const protocols: Readonly<Record<number, string>> = {
  1: 'ICMP',
  6: 'TCP',
  17: 'UDP',
  58: 'ICMPv6',
  132: 'SCTP',
};

/** A packet that was dropped. Ports in host order, 0 where the protocol has none. */
export interface DropNotice {
  readonly reason: string;
  readonly ifindex: number;
  readonly protocol: string;
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  /** Bytes of the frame. */
  readonly length: number;
}

/** Sums over all CPUs of `drops`, by reason. */
export function dropCounts(map: BpfMap): { reason: string; count: number }[] {
  return Object.entries(dropText).map(([number, reason]) => {
    const values = map.lookup(Uint8Array.of(Number(number), 0, 0, 0))!;
    const perCpu = new BigUint64Array(values.slice().buffer);
    return { reason, count: Number(perCpu.reduce((sum, count) => sum + count, 0n)) };
  });
}

/** Has drops reported until it is disposed. Throws SysError. */
export function watchDrops(
  bpf: Bpf,
  platform: Platform,
  events: BpfMap,
  table: { setWatched(watched: boolean): void },
  onDrop: (drop: DropNotice) => void,
): Disposable {
  const ring = new RingBuffer(bpf, events, (record) => onDrop(readDrop(record)), platform);
  // What an earlier watcher left is old.
  table.setWatched(true);
  let watching = true;
  return {
    [Symbol.dispose]() {
      if (!watching) return;
      watching = false;
      table.setWatched(false);
      ring[Symbol.dispose]();
    },
  };
}

function readDrop(record: Uint8Array): DropNotice {
  const { tuple, reason, ifindex, length } = decodeDropEvent(record);
  return {
    reason: dropText[reason] ?? `reason ${reason}`,
    ifindex,
    protocol: protocols[tuple.protocol] ?? `protocol ${tuple.protocol}`,
    source: formatIp(tuple.source),
    sourcePort: tuple.sourcePort,
    destination: formatIp(tuple.destination),
    destinationPort: tuple.destinationPort,
    length,
  };
}
