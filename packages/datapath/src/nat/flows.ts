import { formatIp } from '@heddle/sys';
import { decodeNatFlow, flowState, type NatFlow, natFlowSize } from '../generated/abi.ts';
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
  [flowState.tcpSyn]: ['TCP', 'syn'],
  [flowState.tcpSynAck]: ['TCP', 'syn-ack'],
  [flowState.tcpEstablished]: ['TCP', 'established'],
  [flowState.tcpClientFin]: ['TCP', 'half-closed by the client'],
  [flowState.tcpBackendFin]: ['TCP', 'half-closed by the backend'],
  [flowState.tcpClosedByClient]: ['TCP', 'closed'],
  [flowState.tcpClosedByBackend]: ['TCP', 'closed by the backend'],
  [flowState.tcpReset]: ['TCP', 'reset'],
  [flowState.udpUnanswered]: ['UDP', 'unanswered'],
  [flowState.udp]: ['UDP', 'answered'],
  [flowState.sctpUnanswered]: ['SCTP', 'unanswered'],
  [flowState.sctp]: ['SCTP', 'answered'],
};

/** All states that a flow can have, as they read; `of` a protocol, or of any. */
export const flowStates = (of?: FlowEntry['protocol']): string[] => [
  ...new Set(
    Object.values(states)
      .filter(([protocol]) => of === undefined || protocol === of)
      .map(([, state]) => state),
  ),
];

// These masks are in abi.h: LIFE_SEEN_MASK, LIFE_STATE_MASK, LIFE_SOURCE_MASK, LIFE_UNCONFIRMED, LIFE_TUNNELLED.
const seenMask = 0xffff;
const stateOf = (life: number) => (life >>> 16) & 0xf;
const isTunnelled = (life: number) => life >>> 31 === 1;
const isConfirmed = (life: number) => ((life >>> 30) & 1) === 0;

/** Index in `nat_sources` of what the backend sees; 0: the client's own address. */
export const sourceOfLife = (life: number) => (isTunnelled(life) ? 0 : (life >>> 24) & 0x3f);

/** Whether it is of a TCP connection that is over: it gives its port up when there is no other. */
export const isOverLife = (life: number) =>
  stateOf(life) >= flowState.tcpClosedByClient && stateOf(life) <= flowState.tcpReset;

/** Undefined when the entry is no flow. */
export const protocolOfLife = (life: number) => states[stateOf(life)]?.[0];

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
  for (let at = first * natFlowSize; at + natFlowSize <= bytes.length; at += natFlowSize) {
    const flow = decodeNatFlow(bytes, at);
    const known = states[stateOf(flow.life)];
    if (!known) continue;
    const entry = entryOf(flow, known, nowTicks, addressOf(sourceOfLife(flow.life)));
    yield { number: at / natFlowSize, ...entry };
  }
}

function entryOf(
  flow: NatFlow,
  [protocol, state]: readonly [FlowEntry['protocol'], string],
  nowTicks: number,
  source: Uint8Array | undefined,
): Omit<FlowEntry, 'number'> {
  return {
    protocol,
    state,
    confirmed: isConfirmed(flow.life),
    client: formatIp(flow.client),
    clientPort: flow.clientPort,
    frontend: formatIp(flow.frontend),
    frontendPort: flow.frontendPort,
    backend: formatIp(flow.backend),
    backendPort: flow.backendPort,
    forwarding: isTunnelled(flow.life) ? 'dsr' : source ? 'snat' : 'local',
    source: formatIp(source ?? flow.client),
    sourcePort: flow.sourcePort,
    idleSeconds: secondsOf((nowTicks - (flow.life & seenMask)) & seenMask),
  };
}
