import { formatEndpoint, formatIp, isIpv4, parseIp } from '../ip.ts';
import { encodeUtf8 } from '../utf8.ts';
import { AF_INET, AF_INET6, AF_PACKET, AF_UNIX } from './constants.ts';

/** An IP address and a port. An IPv4 address of an IPv6 socket reads `::ffff:a.b.c.d`. */
export interface SocketAddress {
  readonly address: string;
  /** Host byte order. */
  readonly port: number;
}

/** Bytes of a struct sockaddr_in6, the largest address of an IP socket. */
export const sockaddrSize = 28;

/** Reads `10.0.0.1:80` or `[fd00::1]:80`. Throws RangeError. */
export function readSocketAddress(text: string): SocketAddress {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const address = match?.[1] ?? match?.[2] ?? '';
  if (!match || !parseIp(address) || Number(match[3]) > 65535) {
    throw new RangeError(
      `read socket address ${text}: not an address and a port, as 10.0.0.1:80 or [fd00::1]:80`,
    );
  }
  return { address, port: Number(match[3]) };
}

/** Returns the text that `readSocketAddress` reads. */
export function formatSocketAddress({ address, port }: SocketAddress): string {
  return formatEndpoint(address, port);
}

/**
 * Returns a struct sockaddr_in, or a struct sockaddr_in6 for an IPv6 address (linux/in.h,
 * linux/in6.h). Throws RangeError when the address is not one.
 */
export function encodeSockaddr({ address, port }: SocketAddress): Uint8Array {
  const ip = parseIp(address);
  if (!ip) throw new RangeError(`encode socket address ${address}: not an IPv4 or IPv6 address`);
  const isV6 = address.includes(':');
  const bytes = new Uint8Array(isV6 ? sockaddrSize : 16);
  const view = new DataView(bytes.buffer);
  // The family is in host byte order, port and address are in network byte order.
  view.setUint16(0, isV6 ? AF_INET6 : AF_INET, true);
  view.setUint16(2, port, false);
  if (isV6) bytes.set(ip, 8);
  else bytes.set(ip.subarray(12), 4);
  return bytes;
}

/**
 * Reads the struct sockaddr_in or sockaddr_in6 that a system call filled in. Throws RangeError for
 * other families.
 */
export function decodeSockaddr(bytes: Uint8Array): SocketAddress {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const family = view.getUint16(0, true);
  const port = view.getUint16(2, false);
  if (family === AF_INET) return { address: bytes.subarray(4, 8).join('.'), port };
  if (family !== AF_INET6)
    throw new RangeError(`decode socket address: family ${family} is not IP`);
  const ip = bytes.slice(8, 24);
  return { address: isIpv4(ip) ? `::ffff:${formatIp(ip)}` : formatIp(ip), port };
}

/**
 * Returns a struct sockaddr_un (sys/un.h) for a path in the file system. Throws an Error for a
 * path of more than 107 bytes.
 */
export function encodeUnixSockaddr(path: string): Uint8Array {
  const name = encodeUtf8(path);
  if (name.length > 107) {
    throw new Error(`use socket ${path}: longer than 107 bytes (give a shorter path)`);
  }
  // The family, the path and its closing NUL.
  const bytes = new Uint8Array(2 + name.length + 1);
  new DataView(bytes.buffer).setUint16(0, AF_UNIX, true);
  bytes.set(name, 2);
  return bytes;
}

/**
 * Returns a struct sockaddr_ll (linux/if_packet.h) for the network interface with the ifindex
 * `link`. `protocol` is an Ethernet type in host byte order; 0 receives nothing.
 */
export function encodePacketSockaddr(link: number, protocol: number): Uint8Array {
  const bytes = new Uint8Array(20);
  const view = new DataView(bytes.buffer);
  // family u16, protocol be16, ifindex s32; the rest is for received packets.
  view.setUint16(0, AF_PACKET, true);
  view.setUint16(2, protocol, false);
  view.setInt32(4, link, true);
  return bytes;
}

/** Returns an `int` (host byte order), as setsockopt(2) takes most options. */
export function encodeInt(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  return bytes;
}

/** Returns a struct timeval {seconds s64, microseconds s64}, for SO_RCVTIMEO and SO_SNDTIMEO. */
export function encodeTimeout(milliseconds: number): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setBigInt64(0, BigInt(Math.floor(milliseconds / 1000)), true);
  view.setBigInt64(8, BigInt((milliseconds % 1000) * 1000), true);
  return bytes;
}
