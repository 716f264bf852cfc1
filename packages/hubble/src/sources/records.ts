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
 * Passes on the flows of a change of a connection: one in the client's direction, and one in the other if the
 * other side has answered, or has sent something since. `time` is in milliseconds since 1970; `snatAddress` is
 * the address of the change's index in `nat_sources`; `verdicts` has the rules that have allowed connections.
 * The flows have the views of the change.
 */
export function passRecords(
  change: ConnectionChange,
  names: NodeNames,
  time: number,
  snatAddress: IpBytes | undefined,
  verdicts: KnownVerdicts | undefined,
  pass: (record: FlowRecord) => void,
): void {
  const { entry, protocol, phase, isNew, isAnswered, isEnded, sent, asked } = change;
  const { client, backend } = entry;
  const isTranslated =
    entry.frontendPort !== entry.backendPort || !isEqual(entry.frontend, backend);
  const frontend = asked?.address ?? (isTranslated ? entry.frontend : undefined);
  const frontendPort = asked?.port ?? (isTranslated ? entry.frontendPort : 0);
  const isV4 = isIpv4(client);
  const isIcmp = protocol === 'ICMP';
  const isTcp = protocol === 'TCP';
  const number = isIcmp && !isV4 ? ipProtocol.icmpv6 : protocolNumber(protocol)!;
  const service = frontend && names.service(frontend, frontendPort, number);
  const started = isNew ? time : 0;
  const direction = directionOf(names, client, backend);
  const clientParty = names.party(client);
  const backendParty = names.party(backend);
  const { ACK, FIN, RST, SYN } = tcpFlag;
  // A connection that was already there, or that goes on, has nothing but data.
  const ending = isEnded ? (phase === 'reset' ? RST : FIN | ACK) : 0;
  const isOnlyAnswer = isAnswered && !isNew && !isEnded;
  // An object is written out because copying the common fields would cost more than the rest.
  if (!isOnlyAnswer || sent[0].packets > 0) {
    pass({
      time,
      started,
      source: client,
      destination: backend,
      sourceTranslated: snatAddress,
      frontend,
      sourcePort: isIcmp ? (isV4 ? 8 : 128) : entry.clientPort,
      destinationPort: isIcmp ? 0 : entry.backendPort,
      frontendPort,
      protocol: number,
      tcpFlags: isTcp ? (isNew ? SYN : 0) | ending || ACK : 0,
      verdict: Verdict.FORWARDED,
      dropReason: 0,
      direction,
      isReply: false,
      eventType: eventType.trace,
      observationPoint: pointTo(names, backend, change.isTunnelled),
      traceReason: isNew ? TraceReason.NEW : TraceReason.ESTABLISHED,
      socketPoint: SocketTranslationPoint.SOCK_XLATE_POINT_UNKNOWN,
      interfaceIndex: 0,
      bytes: sent[0].bytes,
      packets: sent[0].packets,
      sourceParty: clientParty,
      destinationParty: backendParty,
      sourceService: undefined,
      destinationService: service,
      decisions: verdicts?.of(entry, number),
      dns: undefined,
    });
  }
  if (!isAnswered && sent[1].packets === 0) return;
  pass({
    time,
    started,
    source: backend,
    destination: client,
    sourceTranslated: undefined,
    frontend,
    sourcePort: isIcmp ? (isV4 ? 0 : 129) : entry.backendPort,
    destinationPort: isIcmp ? 0 : entry.clientPort,
    frontendPort,
    protocol: number,
    tcpFlags: isTcp ? (isAnswered ? SYN | ACK : ending || ACK) : 0,
    verdict: Verdict.FORWARDED,
    dropReason: 0,
    direction,
    isReply: true,
    eventType: eventType.trace,
    observationPoint: pointTo(names, client, false),
    traceReason: TraceReason.REPLY,
    socketPoint: SocketTranslationPoint.SOCK_XLATE_POINT_UNKNOWN,
    interfaceIndex: 0,
    bytes: sent[1].bytes,
    packets: sent[1].packets,
    sourceParty: backendParty,
    destinationParty: clientParty,
    sourceService: service,
    destinationService: undefined,
    decisions: undefined,
    dns: undefined,
  });
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
