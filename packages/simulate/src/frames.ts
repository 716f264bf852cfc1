// Encodes and decodes the few kinds of frames that a simulation sends. A simulation has millions of
// frames, so this is optimized.
import { mappedIpv4 } from './addresses.ts';

export const TCP = 6;
export const UDP = 17;
export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const ACK = 0x10;

const ETHERNET = 14;
const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
const TCP_HEADER = 20;
const UDP_HEADER = 8;
/** The MAC address of each node's external network interface, as in the simulated hosts. */
const nodeMac = [2, 0, 0, 0, 0, 2];
const routerMac = [2, 0, 0, 1, 0, 2];

/** One direction of a connection. Addresses are 16 bytes, ports in host order. */
export interface Tuple {
  readonly protocol: number;
  readonly source: Uint8Array;
  readonly sourcePort: number;
  readonly destination: Uint8Array;
  readonly destinationPort: number;
}

/** The headers of a frame that matter to client and backend. */
export interface Segment extends Tuple {
  readonly flags: number;
  /** An ICMP error; the ports are 0. */
  readonly isError: boolean;
}

export function inverse(tuple: Tuple): Tuple {
  const { protocol, source, sourcePort, destination, destinationPort } = tuple;
  return {
    protocol,
    source: destination,
    sourcePort: destinationPort,
    destination: source,
    destinationPort: sourcePort,
  };
}

/** The sequence and acknowledgement numbers of a TCP segment (RFC 9293, 3.1), modulo 2^32. */
export interface Numbers {
  readonly sequence: number;
  readonly acknowledgement: number;
}

/**
 * Returns a frame with a TCP segment with these flags (with PSH it has one byte of data) or a
 * datagram of 8 bytes.
 */
export function buildFrame(
  tuple: Tuple,
  isIpv4: boolean,
  flags: number,
  { sequence, acknowledgement }: Numbers,
): Uint8Array {
  const { protocol, source, sourcePort, destination, destinationPort } = tuple;
  const network = isIpv4 ? IPV4_HEADER : IPV6_HEADER;
  // The byte of data is zero. A second byte, which is not sent, completes the last word of the
  // checksum.
  const data = protocol === TCP && flags & PSH ? 1 : 0;
  const length = protocol === TCP ? TCP_HEADER + data : UDP_HEADER + 8;
  const room = new Uint8Array(ETHERNET + network + length + data);
  const bytes = room.subarray(0, ETHERNET + network + length);
  const view = new DataView(room.buffer);
  bytes.set(nodeMac, 0);
  bytes.set(routerMac, 6);
  view.setUint16(12, isIpv4 ? 0x0800 : 0x86dd);
  const at = ETHERNET + network;
  if (isIpv4) {
    view.setUint16(14, 0x4500);
    view.setUint16(16, network + length);
    view.setUint16(20, 0x4000);
    view.setUint16(22, (64 << 8) | protocol);
    bytes.set(source.subarray(12), 26);
    bytes.set(destination.subarray(12), 30);
    view.setUint16(24, ~fold(sum(view, ETHERNET, at)));
  } else {
    view.setUint16(14, 0x6000);
    view.setUint16(18, length);
    view.setUint16(20, (protocol << 8) | 64);
    bytes.set(source, 22);
    bytes.set(destination, 38);
  }
  view.setUint16(at, sourcePort);
  view.setUint16(at + 2, destinationPort);
  if (protocol === TCP) {
    view.setUint32(at + 4, sequence);
    view.setUint32(at + 8, flags & ACK ? acknowledgement : 0);
    view.setUint16(at + 12, (5 << 12) | flags);
    view.setUint16(at + 14, 0xffff);
  } else {
    view.setUint16(at + 4, length);
  }
  const pseudo = sum(view, isIpv4 ? 26 : 22, at) + protocol + length;
  const checksum = ~fold(pseudo + sum(view, at, room.length)) & 0xffff;
  view.setUint16(at + (protocol === TCP ? 16 : 6), checksum === 0 ? 0xffff : checksum);
  return bytes;
}

/** Decodes a frame of the simulation or of a program; returns undefined for other frames. */
export function readFrame(bytes: Uint8Array): Segment | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const type = view.getUint16(12);
  const isIpv4 = type === 0x0800;
  if (!isIpv4 && type !== 0x86dd) return undefined;
  const protocol = view.getUint8(isIpv4 ? 23 : 20);
  const at = ETHERNET + (isIpv4 ? (view.getUint8(14) & 15) * 4 : IPV6_HEADER);
  const [source, destination] = isIpv4
    ? [mappedIpv4(bytes.subarray(26, 30)), mappedIpv4(bytes.subarray(30, 34))]
    : [bytes.slice(22, 38), bytes.slice(38, 54)];
  const isError = protocol === 1 || protocol === 58;
  return {
    ...{ protocol, source, destination, isError },
    sourcePort: isError ? 0 : view.getUint16(at),
    destinationPort: isError ? 0 : view.getUint16(at + 2),
    flags: protocol === TCP ? view.getUint8(at + 13) : 0,
  };
}

/** Returns the destination address of a frame, 16 bytes. */
export function destinationOf(frame: Uint8Array): Uint8Array {
  return frame[12] === 0x08 ? mappedIpv4(frame.subarray(30, 34)) : frame.slice(38, 54);
}

/** Sets the destination MAC address to that of a node's network interface. */
export function toNode(frame: Uint8Array): Uint8Array {
  frame.set(nodeMac, 0);
  return frame;
}

function sum(view: DataView, from: number, to: number): number {
  let total = 0;
  for (let i = from; i < to; i += 2) total += view.getUint16(i);
  return total;
}

function fold(total: number): number {
  let folded = total;
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return folded;
}
