import type { DenialReasons, DropEntry } from '@heddle/agent';
import { dropReasons, protocolNumber } from '@heddle/datapath';
import { type IpBytes, isIpv4, parseIp } from '@heddle/sys';
import { eventType, type FlowRecord, ipProtocol, type Names, tcpFlag } from '../flows/record.ts';
import {
  SocketTranslationPoint,
  TraceObservationPoint,
  TraceReason,
  TrafficDirection,
  Verdict,
} from '../generated/flow/flow_pb.js';
import { deciding, defaultDenial, directions, type Side } from './decisions.ts';
import type { KnownVerdicts } from './known-verdicts.ts';
import type { ConnectionChange } from './sweep.ts';

/** The names of a node's flows, and which pods are on it. */
export interface NodeNames extends Names {
  /** Returns true for an address of a pod of this node. */
  isLocalPod(address: IpBytes): boolean;
}

/**
 * Returns the flows of a change of a connection: one in the client's direction, and one in the other if the
 * other side has answered. `time` is in milliseconds since 1970; `snatAddress` is the address of the change's
 * index in `nat_sources`; `verdicts` has the rules that have allowed connections.
 */
export function connectionRecords(
  change: ConnectionChange,
  names: NodeNames,
  time: number,
  snatAddress: IpBytes | undefined,
  verdicts?: KnownVerdicts,
): FlowRecord[] {
  const { entry, protocol, phase, isNew, isAnswered, isEnded } = change;
  const isTranslated =
    entry.frontendPort !== entry.backendPort || !isEqual(entry.frontend, entry.backend);
  const isV4 = isIpv4(entry.client);
  const isIcmp = protocol === 'ICMP';
  const number = isIcmp && !isV4 ? ipProtocol.icmpv6 : protocolNumber(protocol)!;
  const service = isTranslated
    ? names.service(entry.frontend, entry.frontendPort, number)
    : undefined;
  const [client, backend] = [entry.client, entry.backend];
  const common = {
    ...{ time, started: isNew ? time : 0, protocol: number, verdict: Verdict.FORWARDED },
    ...{ dropReason: 0, eventType: eventType.trace, interfaceIndex: 0, bytes: 0, packets: 0 },
    socketPoint: SocketTranslationPoint.SOCK_XLATE_POINT_UNKNOWN,
    direction: directionOf(names, client, backend),
    frontend: isTranslated ? entry.frontend : undefined,
    frontendPort: isTranslated ? entry.frontendPort : 0,
  };
  const [clientParty, backendParty] = [names.party(client), names.party(backend)];
  const tcp = (flags: number) => (protocol === 'TCP' ? flags : 0);
  const { ACK, FIN, RST, SYN } = tcpFlag;
  // A connection that was already there, or that goes on, has nothing but data.
  const ending = isEnded ? (phase === 'reset' ? RST : FIN | ACK) : 0;
  const request: FlowRecord = {
    ...common,
    ...{ source: client, destination: backend, sourceTranslated: snatAddress },
    sourcePort: isIcmp ? (isV4 ? 8 : 128) : entry.clientPort,
    destinationPort: isIcmp ? 0 : entry.backendPort,
    tcpFlags: tcp((isNew ? SYN : 0) | ending || ACK),
    isReply: false,
    observationPoint: pointTo(names, backend, change.isTunnelled),
    traceReason: isNew ? TraceReason.NEW : TraceReason.ESTABLISHED,
    ...{ sourceParty: clientParty, destinationParty: backendParty },
    destinationService: service,
    decisions: verdicts?.of(entry, number),
  };
  const reply: FlowRecord = {
    ...common,
    ...{ source: backend, destination: client },
    sourcePort: isIcmp ? (isV4 ? 0 : 129) : entry.backendPort,
    destinationPort: isIcmp ? 0 : entry.clientPort,
    tcpFlags: tcp(SYN | ACK),
    isReply: true,
    observationPoint: pointTo(names, client, false),
    traceReason: TraceReason.REPLY,
    ...{ sourceParty: backendParty, destinationParty: clientParty },
    sourceService: service,
  };
  const isOnlyAnswer = isAnswered && !isNew && !isEnded;
  return [...(isOnlyAnswer ? [] : [request]), ...(isAnswered ? [reply] : [])];
}

/**
 * Passes on the flows of changes until `max` have been; the changes after that are only counted, so that a
 * burst costs a limited time. Returns their number.
 */
export function passRecords<Change>(
  changes: Iterable<Change>,
  recordsOf: (change: Change) => readonly FlowRecord[],
  pass: (record: FlowRecord) => void,
  max: number,
): number {
  let [passed, left] = [0, 0];
  for (const change of changes) {
    if (passed >= max) {
      left++;
      continue;
    }
    for (const record of recordsOf(change)) {
      pass(record);
      passed++;
    }
  }
  return left;
}

/**
 * Returns the flow of a dropped packet. `time` is in milliseconds since 1970; `reasons` are those of a denial by default.
 */
export function dropRecord(
  drop: DropEntry,
  names: NodeNames,
  time: number,
  reasons?: DenialReasons,
): FlowRecord {
  const unspecified = parseIp('0.0.0.0')!;
  const source = parseIp(drop.source) ?? unspecified;
  const destination = parseIp(drop.destination) ?? unspecified;
  const protocol = protocolNumber(drop.protocol) ?? 0;
  const side = drop.policy?.direction;
  return {
    ...{ time, started: 0, source, destination, protocol, frontendPort: 0, tcpFlags: 0 },
    ...{ sourcePort: drop.sourcePort, destinationPort: drop.destinationPort },
    verdict: Verdict.DROPPED,
    dropReason: dropReasons.find(({ text }) => text === drop.reason)?.number ?? 0,
    direction: side ? directions[side] : directionOf(names, source, destination),
    decisions: side && denialOf(drop, side, reasons),
    isReply: undefined,
    eventType: eventType.drop,
    observationPoint: TraceObservationPoint.UNKNOWN_POINT,
    traceReason: TraceReason.TRACE_REASON_UNKNOWN,
    socketPoint: SocketTranslationPoint.SOCK_XLATE_POINT_UNKNOWN,
    ...{ interfaceIndex: drop.ifindex, bytes: drop.length, packets: 1 },
    ...{ sourceParty: names.party(source), destinationParty: names.party(destination) },
    destinationService: names.service(destination, drop.destinationPort, protocol),
  };
}

function denialOf({ deniedBy }: DropEntry, side: Side, reasons: DenialReasons | undefined) {
  if (deniedBy) return [deciding(deniedBy, side, Verdict.DROPPED)];
  return reasons && defaultDenial(reasons, side, Verdict.DROPPED);
}

/** The direction as the pod of this node sees it; the client's if both are here. */
function directionOf(names: NodeNames, client: IpBytes, server: IpBytes): TrafficDirection {
  if (names.isLocalPod(client)) return TrafficDirection.EGRESS;
  if (names.isLocalPod(server)) return TrafficDirection.INGRESS;
  return TrafficDirection.TRAFFIC_DIRECTION_UNKNOWN;
}

function pointTo(names: NodeNames, address: IpBytes, isTunnelled: boolean): TraceObservationPoint {
  if (isTunnelled) return TraceObservationPoint.TO_OVERLAY;
  return names.isLocalPod(address)
    ? TraceObservationPoint.TO_ENDPOINT
    : TraceObservationPoint.TO_NETWORK;
}

function isEqual(one: IpBytes, other: IpBytes): boolean {
  for (let at = 15; at >= 0; at--) if (one[at] !== other[at]) return false;
  return true;
}
