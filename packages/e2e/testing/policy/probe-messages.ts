import { crc32c, internetChecksum } from '@heddle/lab';
import { decodeUtf8, encodeUtf8, formatIp } from '@heddle/sys';

/** IP protocol numbers. */
export const protocolNumbers = { ICMP: 1, TCP: 6, UDP: 17, SCTP: 132 } as const;
export const icmpv6 = 58;

// RFC 9260, 3.2 and 3.3.
export const sctpInit = 1;
export const sctpInitAck = 2;
export const sctpAbort = 6;
const sctpHeader = 12;
const initChunk = 20;

/** A message of SCTP with one chunk. */
export interface SctpMessage {
  readonly sport: number;
  readonly dport: number;
  readonly verificationTag: number;
  readonly chunk: number;
  /** The tag that INIT and INIT ACK give to the peer; 0 for other chunks. */
  readonly initiateTag: number;
  /** The text of an INIT ACK's state cookie; empty otherwise. */
  readonly cookie: string;
}

/** Returns the bytes after the IP header. */
export function encodeSctp(message: SctpMessage): Uint8Array {
  const { sport, dport, verificationTag, chunk, initiateTag } = message;
  const cookie = encodeUtf8(message.cookie);
  const hasTag = chunk === sctpInit || chunk === sctpInitAck;
  const parameter = chunk === sctpInitAck ? 4 + cookie.length : 0;
  const length = (hasTag ? initChunk : 4) + parameter;
  const bytes = new Uint8Array(sctpHeader + ((length + 3) & ~3));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, sport);
  view.setUint16(2, dport);
  view.setUint32(4, verificationTag);
  view.setUint8(12, chunk);
  view.setUint16(14, length);
  if (hasTag) {
    view.setUint32(16, initiateTag);
    view.setUint32(20, 65_536);
    view.setUint16(24, 1);
    view.setUint16(26, 1);
    view.setUint32(28, initiateTag);
  }
  if (parameter > 0) {
    view.setUint16(32, 7);
    view.setUint16(34, parameter);
    bytes.set(cookie, 36);
  }
  view.setUint32(8, crc32c(bytes), true);
  return bytes;
}

/** Reads the bytes after the IP header; undefined for a message that is too short. */
export function decodeSctp(bytes: Uint8Array): SctpMessage | undefined {
  if (bytes.length < sctpHeader + 4) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const chunk = view.getUint8(12);
  const hasTag = (chunk === sctpInit || chunk === sctpInitAck) && bytes.length >= 32;
  const hasCookie = chunk === sctpInitAck && bytes.length >= 36;
  return {
    sport: view.getUint16(0),
    dport: view.getUint16(2),
    verificationTag: view.getUint32(4),
    chunk,
    initiateTag: hasTag ? view.getUint32(16) : 0,
    cookie: hasCookie ? decodeUtf8(bytes.subarray(36, 32 + view.getUint16(34))) : '',
  };
}

/** Returns an echo request of a family; the kernel computes the checksum of ICMPv6. */
export function encodeEcho(family: 4 | 6, id: number, sequence: number): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, family === 4 ? 8 : 128);
  view.setUint16(4, id);
  view.setUint16(6, sequence);
  if (family === 4) view.setUint16(2, internetChecksum(bytes));
  return bytes;
}

export type IcmpMessage =
  | { readonly kind: 'reply'; readonly id: number; readonly sequence: number }
  | {
      readonly kind: 'error';
      readonly text: string;
      /** The protocol, destination and port of the packet that the error is about. */
      readonly protocol: number;
      readonly destination: string;
      /** Host order; of ICMP the sequence number of an echo. */
      readonly port: number;
    };

/** Reads the bytes after the IP header; undefined for other messages than replies to echos and errors. */
export function decodeIcmp(family: 4 | 6, bytes: Uint8Array): IcmpMessage | undefined {
  if (bytes.length < 8) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [type, code] = [view.getUint8(0), view.getUint8(1)];
  if (type === (family === 4 ? 0 : 129)) {
    return { kind: 'reply', id: view.getUint16(4), sequence: view.getUint16(6) };
  }
  // Destination unreachable, time exceeded and parameter problem; and packet too big of IPv6.
  const isError = family === 4 ? [3, 11, 12].includes(type) : type < 5;
  const header = family === 4 ? 20 : 40;
  if (!isError || bytes.length < 8 + header + 8) return undefined;
  const inner = bytes.subarray(8);
  const protocol = inner[family === 4 ? 9 : 6]!;
  const address = inner.slice(header - (family === 4 ? 4 : 16), header);
  const isEcho = protocol === protocolNumbers.ICMP || protocol === icmpv6;
  return {
    kind: 'error',
    text: `ICMP error ${type}/${code}`,
    protocol,
    destination: family === 4 ? address.join('.') : formatIp(address),
    port: view.getUint16(8 + header + (isEcho ? 6 : 2)),
  };
}
