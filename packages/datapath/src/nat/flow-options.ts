import { ctState } from '../generated/abi.ts';

/** How the node's devices translate packets. */
export interface NatOptions {
  /**
   * Ports of the node that stand for clients, both ends included. A range that the node's own
   * sockets and NodePorts don't choose from, so that no two meet.
   */
  readonly ports: PortRange;
  readonly timeouts: FlowTimeouts;
  /**
   * Seconds that the other nodes have to hear of a new backend, before tunnels lead to it (dsr). Flows
   * that begin before go by SNAT.
   */
  readonly tunnelAfter: number;
}

/** Ports in host order, both ends included. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** Seconds: the kernel half keeps the age of a flow in 16 bits of ticks, and compares it with this. */
export const longestTimeout = 43_200;

/** Seconds without a packet after which a flow is forgotten, 1 to `longestTimeout`. */
export interface FlowTimeouts {
  /** Before the three-way handshake is done. */
  readonly tcpHandshake: number;
  /** RFC 5382, REQ-5: not less than 2 h 4 min. */
  readonly tcpEstablished: number;
  /** One side has sent its FIN. */
  readonly tcpHalfClosed: number;
  /**
   * Both have, and the backend has not forgotten it: it holds the port in TIME-WAIT, in which it would
   * refuse its next user, or it waits for the client's last acknowledgement, and repeats its FIN after
   * 51 s at most.
   */
  readonly tcpClosed: number;
  /** Closed and acknowledged, or reset: the backend has forgotten it. */
  readonly tcpReset: number;
  /** The backend has not answered. RFC 4787, REQ-5: not less than 2 min. */
  readonly udpUnanswered: number;
  /** RFC 4787, REQ-5: 5 min recommended. */
  readonly udp: number;
  readonly sctpHandshake: number;
  readonly sctp: number;
}

export const defaultNat: NatOptions = {
  // Below the NodePorts (30000 on) and the kernel's ephemeral ports (32768 on).
  ports: { first: 1024, last: 29_999 },
  timeouts: {
    tcpHandshake: 60,
    tcpEstablished: 7440,
    tcpHalfClosed: 3600,
    tcpClosed: 60,
    tcpReset: 10,
    udpUnanswered: 120,
    udp: 300,
    sctpHandshake: 60,
    sctp: 900,
  },
  tunnelAfter: 5,
};

/** Part of the flow table that flows may have that not both sides have confirmed. */
const unansweredShare = 0.5;

/** How many of a table of `flows` entries they may be. */
export function unansweredLimit(flows: number): number {
  return Math.max(1, Math.floor(flows * unansweredShare));
}

/**
 * How far apart ports are that are taken one after the other: by such steps all of `count` ports are met
 * before one comes again, as the two have no common divisor, and neighbours late.
 */
export function portStride(count: number): number {
  const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));
  let stride = Math.max(1, Math.round(count * 0.618));
  while (divisor(stride, count) !== 1) stride--;
  return stride;
}

/** The kernel half's tick (TICK_SHIFT in abi.h). */
export const tickNs = 2 ** 30;

/** Seconds of a number of the kernel half's ticks. */
export function secondsOf(ticks: number): number {
  return Math.round((ticks * tickNs) / 1e9);
}

/** As many of the kernel half's ticks as make these seconds, or more. */
export function ticksOf(seconds: number): number {
  return Math.ceil((seconds * 1e9) / tickNs);
}

/** The timeout of each state, in ticks: `node_config.timeouts`. */
export function timeoutTicks(timeouts: FlowTimeouts): number[] {
  const seconds: Readonly<Record<number, number>> = {
    [ctState.tcpSyn]: timeouts.tcpHandshake,
    [ctState.tcpSynAck]: timeouts.tcpHandshake,
    [ctState.tcpEstablished]: timeouts.tcpEstablished,
    [ctState.tcpClientFin]: timeouts.tcpHalfClosed,
    [ctState.tcpBackendFin]: timeouts.tcpHalfClosed,
    [ctState.tcpClosedByClient]: timeouts.tcpClosed,
    [ctState.tcpClosedByBackend]: timeouts.tcpClosed,
    [ctState.tcpReset]: timeouts.tcpReset,
    [ctState.udpUnanswered]: timeouts.udpUnanswered,
    [ctState.udp]: timeouts.udp,
    [ctState.sctpUnanswered]: timeouts.sctpHandshake,
    [ctState.sctp]: timeouts.sctp,
  };
  return Array.from({ length: 16 }, (_, state) => ticksOf(seconds[state] ?? 0));
}
