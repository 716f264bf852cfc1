import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { IpBytes } from '@heddle/sys';
import {
  type DNS,
  type Endpoint,
  EndpointSchema,
  type PolicyDecision_Relation,
  type Service,
  type SocketTranslationPoint,
  type TraceObservationPoint,
  type TraceReason,
  type TrafficDirection,
  type Verdict,
} from '../generated/flow/flow_pb.js';

/** The types of events, as clients of Hubble number them. */
export const eventType = {
  drop: 1,
  trace: 4,
  policyVerdict: 5,
  traceSocket: 7,
  layer7: 129,
} as const;
export type EventType = (typeof eventType)[keyof typeof eventType];

/** The bits of `FlowRecord.tcpFlags`, as in the TCP header. */
export const tcpFlag = {
  FIN: 0x01,
  SYN: 0x02,
  RST: 0x04,
  PSH: 0x08,
  ACK: 0x10,
  URG: 0x20,
  ECE: 0x40,
  CWR: 0x80,
  NS: 0x100,
} as const;

/** The numbers of IP protocols that flows distinguish. */
export const ipProtocol = { icmp: 1, igmp: 2, tcp: 6, udp: 17, icmpv6: 58, vrrp: 112, sctp: 132 };

/**
 * One end of flows, as it was known when they were observed. Flows of the same end share one object: it must
 * not change, and a change of the end's names makes a new one.
 */
export interface Party {
  /** The message of the end, which all its flows share. */
  readonly endpoint: Endpoint;
  /** DNS names of the address. */
  readonly names: readonly string[];
}

/** Returns a party with these properties. */
export function party(
  endpoint: MessageInitShape<typeof EndpointSchema>,
  names: readonly string[] = [],
): Party {
  return { endpoint: create(EndpointSchema, endpoint), names };
}

/** A rule or a policy that has to do with the verdict of a flow. */
export interface Decision {
  readonly direction: TrafficDirection;
  readonly verdict: Verdict;
  readonly relation: PolicyDecision_Relation;
  readonly policy: {
    readonly kind: string;
    /** Empty for policies of the cluster. */
    readonly namespace: string;
    readonly name: string;
  };
  /** The rule's position in the policy's list of this direction, from 1; 0 for the policy as a whole. */
  readonly rule: number;
  readonly ruleName: string;
}

/** A DNS message of a flow. */
export interface DnsRecord {
  readonly isResponse: boolean;
  /** The time between query and response in nanoseconds; 0 if it is unknown. */
  readonly latency: bigint;
  readonly dns: DNS;
}

/** One observation of a connection or of a packet. */
export interface FlowRecord {
  /** The time of the observation, in milliseconds since 1970, with fractions. */
  readonly time: number;
  /** The start of the connection in the same unit; 0 if it is unknown. */
  readonly started: number;
  /** Source and destination as the pods see them, the destination after a translation to a backend. */
  readonly source: IpBytes;
  readonly destination: IpBytes;
  /** The source address after SNAT. */
  readonly sourceTranslated?: IpBytes | undefined;
  /** The address that the client asked for, if a service was translated. */
  readonly frontend?: IpBytes | undefined;
  /** Host order. ICMP has its type as source port and its code as destination port. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly frontendPort: number;
  /** The number of the IP protocol. */
  readonly protocol: number;
  /** Bits of `tcpFlag`. */
  readonly tcpFlags: number;
  readonly verdict: Verdict;
  /** Hubble's number; 0 if nothing was dropped. */
  readonly dropReason: number;
  readonly direction: TrafficDirection;
  /** Undefined if the direction within the connection is unknown. */
  readonly isReply: boolean | undefined;
  readonly eventType: EventType;
  readonly observationPoint: TraceObservationPoint;
  readonly traceReason: TraceReason;
  readonly socketPoint: SocketTranslationPoint;
  /** The index of the network interface; 0 if it is unknown. */
  readonly interfaceIndex: number;
  /** Bytes and packets since the previous record of the same connection and direction. */
  readonly bytes: number;
  readonly packets: number;
  readonly sourceParty: Party;
  readonly destinationParty: Party;
  readonly sourceService?: Service | undefined;
  readonly destinationService?: Service | undefined;
  readonly decisions?: readonly Decision[] | undefined;
  readonly dns?: DnsRecord | undefined;
}

/** Knowledge about addresses at the time of a call. */
export interface Names {
  /** Returns the end that an address belongs to. Unknown addresses belong to the world. */
  party(address: IpBytes): Party;
  /** Returns the service with this address and port (host order) for a protocol's number. */
  service(address: IpBytes, port: number, protocol: number): Service | undefined;
  /** Returns the name of a network interface of this node. */
  interfaceName(index: number): string;
}
