import { ctState } from '../generated/abi.ts';

/** Options of the translation at the node's network interfaces. */
export interface NatOptions {
  /**
   * SNAT ports, both ends included. The node's own sockets and NodePorts must not use this range, or two connections
   * could have one port.
   */
  readonly ports: PortRange;
  readonly timeouts: FlowTimeouts;
  /**
   * Seconds after which other nodes know of a new backend, so that packets can be tunnelled to it (dsr). Earlier flows
   * use SNAT.
   */
  readonly tunnelAfter: number;
}

/** Ports in host order, both ends included. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** The longest timeout in seconds: the programs keep the age of a flow in 16 bits of ticks. */
export const longestTimeout = 43_200;

/** Seconds without a packet after which a flow is deleted, 1 to `longestTimeout`. */
export interface FlowTimeouts {
  /** The three-way handshake is not complete. */
  readonly tcpHandshake: number;
  /** RFC 5382, REQ-5: not less than 2 h 4 min. */
  readonly tcpEstablished: number;
  /** One side has sent its FIN. */
  readonly tcpHalfClosed: number;
  /**
   * Both sides have sent their FIN, but the backend may still have the connection: in TIME-WAIT it would refuse a new one
   * from the same port, and in LAST-ACK it repeats its FIN for 51 s at most.
   */
  readonly tcpClosed: number;
  /** The connection is closed and acknowledged, or reset: the backend no longer has it. */
  readonly tcpReset: number;
  /** The backend has not answered. RFC 4787, REQ-5: not less than 2 min. */
  readonly udpUnanswered: number;
  /** RFC 4787, REQ-5: 5 min recommended. */
  readonly udp: number;
  readonly sctpHandshake: number;
  readonly sctp: number;
  /** RFC 5508, REQ-2: not less than 60 s. */
  readonly icmp: number;
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
    icmp: 60,
  },
  tunnelAfter: 5,
};

/** The share of the flow table that unconfirmed flows may have. */
const unansweredShare = 0.5;

/** Returns how many unconfirmed flows a table of `flows` entries may have. */
export function unansweredLimit(flows: number): number {
  return Math.max(1, Math.floor(flows * unansweredShare));
}

/**
 * Returns the distance between ports that are allocated one after the other. It has no common divisor with `count`, so
 * all ports have their turn before one is allocated again, and neighbours are far apart in time.
 */
export function portStride(count: number): number {
  const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));
  let stride = Math.max(1, Math.round(count * 0.618));
  while (divisor(stride, count) !== 1) stride--;
  return stride;
}

/** Nanoseconds of a tick of the programs (TICK_SHIFT in the ABI). */
export const tickNs = 2 ** 30;

/** Returns the seconds of a number of ticks. */
export function secondsOf(ticks: number): number {
  return Math.round((ticks * tickNs) / 1e9);
}

/** Returns the smallest number of ticks that is no shorter than these seconds. */
export function ticksOf(seconds: number): number {
  return Math.ceil((seconds * 1e9) / tickNs);
}

/** Returns the timeout of each state in ticks, for `node_config.timeouts`. */
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
    [ctState.icmpUnanswered]: timeouts.icmp,
    [ctState.icmp]: timeouts.icmp,
  };
  return Array.from({ length: 16 }, (_, state) => ticksOf(seconds[state] ?? 0));
}
