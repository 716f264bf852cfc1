import { formatEndpoint, formatIp } from '@heddle/sys';
import { keyText, wordOf } from '../core/keyed-map.ts';
import {
  type CtEntry,
  ctEntryCodec,
  ctEntrySize,
  ctState,
  decodeCtEntry,
} from '../generated/abi.ts';
import { secondsOf } from './flow-options.ts';

/**
 * A flow that is translated at the node's network interfaces. Ports in host order. An ICMP echo has its identifier in
 * place of the client's port.
 */
export interface FlowEntry {
  /** Its position in the table, from 1. */
  readonly number: number;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP' | 'ICMP';
  readonly state: string;
  /** True when both sides have confirmed the flow; one that is not may be evicted for a new one. */
  readonly confirmed: boolean;
  readonly client: string;
  readonly clientPort: number;
  /** The address that the client sends to. */
  readonly frontend: string;
  readonly frontendPort: number;
  readonly backend: string;
  readonly backendPort: number;
  /**
   * The path to the backend: `local`, it is on this node (or the client is); `snat`, from an address of this node;
   * `dsr`, in a tunnel to its node, which replies to the client directly; `masquerade`, from an address of this node to
   * the destination itself, because the client is a pod and the destination no service; `direct`, as it is, because
   * network policies select a pod at one end, or because the connections of all pods are observed.
   */
  readonly forwarding: 'local' | 'snat' | 'dsr' | 'masquerade' | 'direct';
  /** The address that the backend sees as the client's. */
  readonly source: string;
  readonly sourcePort: number;
  /** Seconds since the last packet. */
  readonly idleSeconds: number;
}

/** The protocol and text of each state. */
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
  [ctState.icmpUnanswered]: ['ICMP', 'unanswered'],
  [ctState.icmp]: ['ICMP', 'answered'],
};

/** Returns the texts of the states that a flow can have; `of` a protocol, or of any. */
export const flowStates = (of?: FlowEntry['protocol']): string[] => [
  ...new Set(
    Object.values(states)
      .filter(([protocol]) => of === undefined || protocol === of)
      .map(([, state]) => state),
  ),
];

const fields = ctEntryCodec.offsets;

// These masks are in abi.h: CT_SEEN_MASK, CT_STATE_MASK, CT_SNAT_MASK, CT_UNCONFIRMED, CT_TUNNELLED.
const seenMask = 0xffff;
/** Returns the state of an entry, one of `ctState`. */
export const stateOf = (stateWord: number) => (stateWord >>> 16) & 0xf;
/** Returns true if packets to the backend are in a tunnel. */
export const isTunnelled = (stateWord: number) => stateWord >>> 31 === 1;
/** Returns true if both sides have confirmed the flow. */
export const isConfirmed = (stateWord: number) => ((stateWord >>> 30) & 1) === 0;

/** Returns the index in `nat_sources` of the address that the backend sees; 0: the client's own. */
export const snatIndexOf = (stateWord: number) =>
  isTunnelled(stateWord) ? 0 : (stateWord >>> 24) & 0x3f;

/** Returns true for a TCP connection that is closed: its SNAT port may be taken when there is no other. */
export const isClosedState = (stateWord: number) =>
  stateOf(stateWord) >= ctState.tcpClosedByClient && stateOf(stateWord) <= ctState.tcpReset;

/** Returns the protocol of an entry, or undefined if the entry is no flow. */
export const protocolOfState = (stateWord: number) => states[stateOf(stateWord)]?.[0];

/**
 * Returns the flows among entries of `nat_flows`, from the `first` one on. `nowTicks` is CLOCK_MONOTONIC in ticks,
 * `addressOf` returns the address of an index in `nat_sources`.
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

/**
 * Returns the numbers of the flows without a service that have one of these addresses of 16 bytes at an end, among
 * entries of `nat_flows`. Decodes only the fields that it needs: a table can have a million entries.
 */
export function podFlowsOf(bytes: Uint8Array, addresses: ReadonlySet<string>): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const numbers: number[] = [];
  for (let at = 0; at + ctEntrySize <= bytes.length; at += ctEntrySize) {
    const stateWord = view.getUint32(at + fields.stateWord, true);
    if (protocolOfState(stateWord) === undefined) continue;
    if (view.getUint32(at + fields.backendId, true) !== 0) continue;
    const isAt = (field: number) =>
      addresses.has(keyText(bytes.subarray(at + field, at + field + 16)));
    if (isAt(fields.client) || isAt(fields.backend)) numbers.push(at / ctEntrySize);
  }
  return numbers;
}

/** A map's elements: keys and values. */
export type MapElements = Iterable<readonly [key: Uint8Array, value: Uint8Array]>;

/**
 * Returns the flows among elements of the map `nat_flows`; `sources` are elements of `nat_sources`, and `nowNs` is
 * CLOCK_MONOTONIC in nanoseconds.
 */
export function flowsOfElements(
  flows: MapElements,
  sources: MapElements,
  nowNs: bigint,
): FlowEntry[] {
  const addresses = new Map(Array.from(sources, ([key, value]) => [wordOf(key), value]));
  const addressOf = (index: number) => (index === 0 ? undefined : addresses.get(index));
  const nowTicks = Number((nowNs >> 30n) & 0xffffn);
  return Array.from(flows).flatMap(([key, value]) =>
    Array.from(readFlows(value, nowTicks, addressOf), (flow) => ({ ...flow, number: wordOf(key) })),
  );
}

/** Returns a text of an entry: its addresses and state. */
export function flowText(entry: CtEntry): string {
  const client = formatEndpoint(formatIp(entry.client), entry.clientPort);
  const frontend = formatEndpoint(formatIp(entry.frontend), entry.frontendPort);
  const backend = formatEndpoint(formatIp(entry.backend), entry.backendPort);
  const isMasqueraded = entry.backendId === 0 && snatIndexOf(entry.stateWord) !== 0;
  const snat = isMasqueraded ? ', masqueraded' : '';
  const tunnel = isTunnelled(entry.stateWord) ? ', in a tunnel to its node' : snat;
  const state = states[stateOf(entry.stateWord)]?.join(' ') ?? `state ${stateOf(entry.stateWord)}`;
  return `${client} to ${frontend} at ${backend}${tunnel}, ${state}`;
}

function forwardingOf({ stateWord, backendId }: CtEntry): FlowEntry['forwarding'] {
  if (isTunnelled(stateWord)) return 'dsr';
  const isOwn = snatIndexOf(stateWord) === 0;
  if (backendId === 0) return isOwn ? 'direct' : 'masquerade';
  return isOwn ? 'local' : 'snat';
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
    forwarding: forwardingOf(flow),
    source: formatIp(source ?? flow.client),
    sourcePort: flow.sourcePort,
    idleSeconds: secondsOf((nowTicks - (flow.stateWord & seenMask)) & seenMask),
  };
}
