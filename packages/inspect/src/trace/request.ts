/** Flags of a TCP segment that a trace can set. */
export const tcpFlags = ['fin', 'syn', 'rst', 'psh', 'ack'] as const;
export type TcpFlag = (typeof tcpFlags)[number];

/** ICMP errors that a trace can send. */
export const icmpErrorKinds = ['unreachable', 'too-large', 'time-exceeded'] as const;
export type IcmpErrorKind = (typeof icmpErrorKinds)[number];

export const traceProtocols = ['tcp', 'udp', 'sctp', 'icmp'] as const;
export type TraceProtocol = (typeof traceProtocols)[number];

/**
 * The start of a trace: the call of a process, a packet that leaves a pod, a packet that enters the node, or one that
 * arrives through the tunnel from another node.
 */
export const traceStarts = ['socket', 'pod', 'node', 'tunnel'] as const;
export type TraceStart = (typeof traceStarts)[number];

/** The connection or packet to trace, as the user writes it. */
export interface TraceRequest {
  readonly from: string;
  readonly to: string;
  /** The destination port; absent for ICMP. */
  readonly port?: number;
  readonly protocol: TraceProtocol;
  readonly at?: TraceStart;
  readonly sourcePort?: number;
  /** Another source address than the pod's own, to send from its interface. */
  readonly spoof?: string;
  /** Flags of the TCP segment. */
  readonly flags?: readonly TcpFlag[];
  /** Continues the flow that the node has. */
  readonly flow?: boolean;
  /** Traces the backend's reply. */
  readonly reply?: boolean;
  /** Sends, in place of the packet, an ICMP error about the packet in the other direction. */
  readonly error?: IcmpErrorKind;
}
