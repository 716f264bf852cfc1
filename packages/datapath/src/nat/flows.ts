import { formatIp } from '@heddle/sys';
import { type CtEntry, ctEntrySize, ctState, decodeCtEntry } from '../generated/abi.ts';
import { secondsOf } from './flow-options.ts';

/** A flow that is translated on the node's devices. Ports in host order. */
export interface FlowEntry {
  /** Its place in the table, from 1. */
  readonly number: number;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly state: string;
  /** True when both sides have confirmed the flow; one that is not may be evicted for a new one. */
  readonly confirmed: boolean;
  readonly client: string;
  readonly clientPort: number;
  /** What the client sends to. */
  readonly frontend: string;
  readonly frontendPort: number;
  readonly backend: string;
  readonly backendPort: number;
  /**
   * How the packets get to the backend: `local`, as it is on this node (or the client is); `snat`, from an
   * address of this node; `dsr`, in a tunnel to its node, which answers the client itself.
   */
  readonly forwarding: 'local' | 'snat' | 'dsr';
  /** What the backend sees as the client. */
  readonly source: string;
  readonly sourcePort: number;
  /** Since the last packet. */
  readonly idleSeconds: number;
}

/** How a flow's state reads. */
const states: Readonly<Record<number, readonly [FlowEntry['protocol'], string]>> = {
  [ctState.tcpSyn]: ['TCP', 'syn'],
  [ctState.tcpSynAck]: ['TCP', 'syn-ack'],
  [ctState.tcpEstablished]: ['TCP', 'established'],
  [ctState.tcpClientFin]: ['TCP', 'half-closed by the client'],
  [ctState.tcpBackendFin]: ['TCP', 'half-closed by the backend'],
  [ctState.tcpClosedByClient]: ['TCP', 'closed'],
  [ctState.tcpClosedByBackend]: ['TCP', 'closed by the backend'],
  [ctState.tcpReset]: ['TCP', 'reset'],
  [ctState.udpUnanswered]: ['UDP', 'unanswered'],
  [ctState.udp]: ['UDP', 'answered'],
  [ctState.sctpUnanswered]: ['SCTP', 'unanswered'],
  [ctState.sctp]: ['SCTP', 'answered'],
};

/** All states that a flow can have, as they read; `of` a protocol, or of any. */
export const flowStates = (of?: FlowEntry['protocol']): string[] => [
  ...new Set(
    Object.values(states)
      .filter(([protocol]) => of === undefined || protocol === of)
      .map(([, state]) => state),
  ),
];

// These masks are in abi.h: CT_SEEN_MASK, CT_STATE_MASK, CT_SNAT_MASK, CT_UNCONFIRMED, CT_TUNNELLED.
const seenMask = 0xffff;
const stateOf = (stateWord: number) => (stateWord >>> 16) & 0xf;
const isTunnelled = (stateWord: number) => stateWord >>> 31 === 1;
const isConfirmed = (stateWord: number) => ((stateWord >>> 30) & 1) === 0;

/** Index in `nat_sources` of what the backend sees; 0: the client's own address. */
export const snatIndexOf = (stateWord: number) =>
  isTunnelled(stateWord) ? 0 : (stateWord >>> 24) & 0x3f;

/** Whether it is of a TCP connection that is over: it gives its port up when there is no other. */
export const isClosedState = (stateWord: number) =>
  stateOf(stateWord) >= ctState.tcpClosedByClient && stateOf(stateWord) <= ctState.tcpReset;

/** Undefined when the entry is no flow. */
export const protocolOfState = (stateWord: number) => states[stateOf(stateWord)]?.[0];

/**
 * The flows among `bytes`, which are entries of `nat_flows`. `nowTicks` is CLOCK_MONOTONIC in ticks,
 * `addressOf` the address that stands for the client's; entries before the `first` one are passed over.
 */
export function* readFlows(
  bytes: Uint8Array,
  nowTicks: number,
  addressOf: (source: number) => Uint8Array | undefined,
  first = 0,
): Generator<FlowEntry> {
  for (let at = first * ctEntrySize; at + ctEntrySize <= bytes.length; at += ctEntrySize) {
    const flow = decodeCtEntry(bytes, at);
    const known = states[stateOf(flow.stateWord)];
    if (!known) continue;
    const entry = entryOf(flow, known, nowTicks, addressOf(snatIndexOf(flow.stateWord)));
    yield { number: at / ctEntrySize, ...entry };
  }
}

function entryOf(
  flow: CtEntry,
  [protocol, state]: readonly [FlowEntry['protocol'], string],
  nowTicks: number,
  source: Uint8Array | undefined,
): Omit<FlowEntry, 'number'> {
  return {
    protocol,
    state,
    confirmed: isConfirmed(flow.stateWord),
    client: formatIp(flow.client),
    clientPort: flow.clientPort,
    frontend: formatIp(flow.frontend),
    frontendPort: flow.frontendPort,
    backend: formatIp(flow.backend),
    backendPort: flow.backendPort,
    forwarding: isTunnelled(flow.stateWord) ? 'dsr' : source ? 'snat' : 'local',
    source: formatIp(source ?? flow.client),
    sourcePort: flow.sourcePort,
    idleSeconds: secondsOf((nowTicks - (flow.stateWord & seenMask)) & seenMask),
  };
}
