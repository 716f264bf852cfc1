// The layers of packets. encode.ts builds bytes from them, parse.ts reads them from bytes. Numbers are
// in host byte order. A field that follows from the rest of the packet (length, protocol number,
// checksum) is absent when it is correct.

/**
 * A checksum. The default is the correct one. `wrong`: another one. `partial`: the sum of the pseudo-header
 * only, which the kernel leaves to the network interface to complete. `none`: 0, in UDP no checksum.
 */
export type Checksum = number | 'wrong' | 'partial' | 'none';

export interface Ethernet {
  readonly kind: 'eth';
  /** Link-layer address, e.g. `02:00:00:00:00:01`. */
  readonly src?: string;
  readonly dst?: string;
  readonly type?: number;
}

export interface Ipv4 {
  readonly kind: 'ipv4';
  readonly src: string;
  readonly dst: string;
  /** Default: 64. */
  readonly ttl?: number;
  /** DSCP and ECN. */
  readonly tos?: number;
  readonly id?: number;
  /** Don't fragment. */
  readonly df?: boolean;
  /** The flag MF: more fragments follow. */
  readonly mf?: boolean;
  /** The reserved bit, which must be zero. */
  readonly reserved?: boolean;
  /** Offset of this fragment in bytes, a multiple of 8. */
  readonly offset?: number;
  readonly protocol?: number;
  /** Options; they are padded with zeros to a multiple of 4 bytes. */
  readonly options?: Uint8Array;
  readonly length?: number;
  readonly checksum?: Checksum;
}

export interface Ipv6 {
  readonly kind: 'ipv6';
  readonly src: string;
  readonly dst: string;
  /** Default: 64. */
  readonly hopLimit?: number;
  readonly trafficClass?: number;
  readonly flowLabel?: number;
  readonly nextHeader?: number;
  /** Bytes after the fixed header. */
  readonly length?: number;
}

/** Hop-by-hop options, destination options or routing (RFC 8200, 4.3 to 4.6). */
export interface Extension {
  readonly kind: 'hop-by-hop' | 'destination-options' | 'routing';
  /** Bytes after the first two: 6, or 6 and a multiple of 8. Default: padding. */
  readonly data?: Uint8Array;
  readonly nextHeader?: number;
}

/** The fragment header of IPv6 (RFC 8200, 4.5). */
export interface FragmentHeader {
  readonly kind: 'fragment';
  readonly id?: number;
  /** Offset in bytes, a multiple of 8. */
  readonly offset?: number;
  readonly more?: boolean;
  /** The reserved bits (8 to 9) and the reserved byte (0 to 7), which must be zero. */
  readonly reserved?: number;
  readonly nextHeader?: number;
}

/** TCP options in the order that senders use, each at most once. */
export interface TcpOptions {
  readonly mss?: number;
  readonly sackPermitted?: boolean;
  /** Timestamp value and timestamp echo reply. */
  readonly timestamps?: readonly [number, number];
  /** Number of bits by which the window is shifted. */
  readonly windowScale?: number;
}

export interface Tcp {
  readonly kind: 'tcp';
  readonly sport: number;
  readonly dport: number;
  readonly seq?: number;
  readonly ackSeq?: number;
  readonly fin?: boolean;
  readonly syn?: boolean;
  readonly rst?: boolean;
  readonly psh?: boolean;
  readonly ack?: boolean;
  readonly urg?: boolean;
  readonly ece?: boolean;
  readonly cwr?: boolean;
  /** The four reserved bits between data offset and flags. */
  readonly reserved?: number;
  /** Default: 65535. */
  readonly window?: number;
  readonly urgentPointer?: number;
  /** Options; bytes are padded with zeros to a multiple of 4. */
  readonly options?: TcpOptions | Uint8Array;
  readonly checksum?: Checksum;
}

export interface Udp {
  readonly kind: 'udp';
  readonly sport: number;
  readonly dport: number;
  readonly length?: number;
  readonly checksum?: Checksum;
}

export interface SctpChunk {
  /** A name of `sctpChunkTypes`, or a number. */
  readonly type: keyof typeof sctpChunkTypes | number;
  readonly flags?: number;
  readonly value?: Uint8Array;
}

export interface Sctp {
  readonly kind: 'sctp';
  readonly sport: number;
  readonly dport: number;
  /** Verification tag. */
  readonly tag?: number;
  readonly chunks?: readonly SctpChunk[];
  /** CRC32c. */
  readonly checksum?: number | 'wrong';
}

/** ICMP or ICMPv6. */
export interface Icmp {
  readonly kind: 'icmp' | 'icmpv6';
  /** A name of `icmpTypes` or `icmpv6Types`, or `type/code`. */
  readonly type: string;
  /** Identifier of an echo message. */
  readonly id?: number;
  readonly sequence?: number;
  /** The last four bytes of the header as one number, e.g. the MTU of the next hop. */
  readonly mtu?: number;
  /** The packet that caused an error, from its IP header on. */
  readonly embedded?: PacketContent;
  readonly checksum?: Checksum;
}

/** Bytes that are not parsed. */
export interface Payload {
  readonly kind: 'payload';
  readonly bytes: Uint8Array;
}

export type Ip = Ipv4 | Ipv6;
export type Layer = Ethernet | Ip | Extension | FragmentHeader | Tcp | Udp | Sctp | Icmp | Payload;

/** The layer of a kind; two kinds may have the same type. */
export type LayerOf<Kind extends Layer['kind']> = Layer extends infer L
  ? L extends Layer
    ? Kind extends L['kind']
      ? L
      : never
    : never
  : never;

/** A packet: its layers from the outermost to the innermost. */
export interface PacketContent {
  readonly layers: readonly Layer[];
  /** The number of bytes of a truncated packet, whose lengths and checksums are those of the whole one. */
  readonly cut?: number;
  /** Bytes after the end of the outermost IP packet, e.g. padding to the minimum frame size. */
  readonly trailer?: Uint8Array;
}

export const etherTypes = { ipv4: 0x0800, ipv6: 0x86dd } as const;

/** Protocol numbers, by which a header names the next one. */
export const protocols = {
  'hop-by-hop': 0,
  icmp: 1,
  ipv4: 4,
  tcp: 6,
  udp: 17,
  ipv6: 41,
  routing: 43,
  fragment: 44,
  icmpv6: 58,
  'destination-options': 60,
  sctp: 132,
} as const;

export const icmpTypes = {
  'echo-reply': '0/0',
  'net-unreachable': '3/0',
  'host-unreachable': '3/1',
  'protocol-unreachable': '3/2',
  'port-unreachable': '3/3',
  'fragmentation-needed': '3/4',
  'admin-prohibited': '3/13',
  'host-redirect': '5/1',
  'echo-request': '8/0',
  'time-exceeded': '11/0',
  'parameter-problem': '12/0',
} as const;

export const icmpv6Types = {
  'no-route': '1/0',
  'admin-prohibited': '1/1',
  'address-unreachable': '1/3',
  'port-unreachable': '1/4',
  'packet-too-big': '2/0',
  'time-exceeded': '3/0',
  'parameter-problem': '4/0',
  'echo-request': '128/0',
  'echo-reply': '129/0',
  'router-solicitation': '133/0',
  'router-advertisement': '134/0',
  'neighbour-solicitation': '135/0',
  'neighbour-advertisement': '136/0',
} as const;

/** RFC 9260, 3.2 */
export const sctpChunkTypes = {
  data: 0,
  init: 1,
  'init-ack': 2,
  sack: 3,
  heartbeat: 4,
  'heartbeat-ack': 5,
  abort: 6,
  shutdown: 7,
  'shutdown-ack': 8,
  error: 9,
  'cookie-echo': 10,
  'cookie-ack': 11,
  'shutdown-complete': 14,
} as const;

/** Returns whether an ICMP message of that type contains the packet that caused it. */
export function isIcmpError(kind: Icmp['kind'], type: number): boolean {
  return kind === 'icmp' ? [3, 4, 5, 11, 12].includes(type) : type < 128;
}

/** Bits of the flags byte of TCP. */
export const tcpFlags = {
  fin: 0x01,
  syn: 0x02,
  rst: 0x04,
  psh: 0x08,
  ack: 0x10,
  urg: 0x20,
  ece: 0x40,
  cwr: 0x80,
} as const;

/** Returns the fragment fields of an IP packet, or undefined for a packet that is not a fragment. */
export function fragmentOf(layer: Layer): { offset: number; more: boolean } | undefined {
  if (layer.kind === 'ipv4' && (layer.mf || layer.offset)) {
    return { offset: layer.offset ?? 0, more: layer.mf ?? false };
  }
  if (layer.kind === 'fragment') return { offset: layer.offset ?? 0, more: layer.more ?? false };
  return undefined;
}
