import type { Bpf, BpfMap } from '@heddle/ebpf';
import { formatIp } from '@heddle/sys';
import { dropReasonText, type ReasonCount, reasonCounts } from '../core/drop-reasons.ts';
import { protocolText } from '../core/protocols.ts';
import { WatchedRing } from '../core/watched-ring.ts';
import { decodeDropEvent, dropReason, policyDirection, refusalReason } from '../generated/abi.ts';

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
  /** Set if network policies deny the packet. */
  readonly policy?: DenyingPolicy;
}

/** The direction and the rule by which network policies deny a packet. */
export interface DenyingPolicy {
  readonly direction: 'egress' | 'ingress';
  /** The number of the rule in `policy_rules`, or undefined if no rule allows the packet. */
  readonly rule: number | undefined;
}

/** The objects that count and observe drops. */
export interface DropParts {
  readonly bpf: Bpf;
  /** The map `drops`. */
  readonly counters: BpfMap;
  /** The map `refusals`. */
  readonly refusals: BpfMap;
  /** The map `drop_events`. */
  readonly events: BpfMap;
  /** Sets whether the programs write events. */
  readonly setWatched: (watched: boolean) => void;
}

/** Packets that the programs drop and socket calls that they refuse. */
export class Drops implements Disposable {
  readonly #parts: DropParts;
  readonly #ring: WatchedRing;

  constructor(parts: DropParts) {
    const { bpf, events: ring, setWatched } = parts;
    this.#parts = parts;
    this.#ring = new WatchedRing({ bpf, ring, setWatched });
  }

  /** Packets dropped at network interfaces since the maps were made, by reason. Throws SysError. */
  counts(): ReasonCount[] {
    return reasonCounts(this.#parts.counters);
  }

  /** Calls of sockets refused since the maps were made, by reason. Throws SysError. */
  refusals(): ReasonCount[] {
    return reasonCounts(this.#parts.refusals, Object.values(refusalReason));
  }

  /**
   * Calls `onDrop` for each packet that is dropped at a network interface, until the result is disposed. There is
   * one watcher at a time: a new one ends the one before. Throws SysError.
   */
  watch(onDrop: (drop: DropNotice) => void): Disposable {
    return this.#ring.watch((record) => onDrop(readDrop(record)));
  }

  [Symbol.dispose](): void {
    this.#ring[Symbol.dispose]();
  }
}

function readDrop(record: Uint8Array): DropNotice {
  const { tuple, reason, ifindex, length, rule, direction } = decodeDropEvent(record);
  const isDenied = reason === dropReason.policy || reason === dropReason.policyDefault;
  const policy: DenyingPolicy = {
    direction: direction === policyDirection.ingress ? 'ingress' : 'egress',
    rule: rule === 0 ? undefined : rule - 1,
  };
  return {
    reason: dropReasonText(reason),
    ifindex,
    protocol: protocolText(tuple.protocol),
    source: formatIp(tuple.source),
    sourcePort: tuple.sourcePort,
    destination: formatIp(tuple.destination),
    destinationPort: tuple.destinationPort,
    length,
    ...(isDenied && { policy }),
  };
}
