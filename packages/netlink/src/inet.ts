import { formatIp, isIpv4, parseCidr, parseIp } from '@heddle/sys';
import { AF_INET, AF_INET6 } from '@heddle/sys/net';
import { MalformedMessage } from './errors.ts';

export type Family = typeof AF_INET | typeof AF_INET6;

/** An address in rtnetlink's form: 4 bytes for AF_INET, 16 for AF_INET6, network byte order. */
export interface InetAddress {
  readonly family: Family;
  readonly bytes: Uint8Array;
}

/** An address with the length of its prefix in bits. */
export interface InetPrefix extends InetAddress {
  readonly prefixLength: number;
}

/** Reads an IP address. Throws RangeError. */
export function readAddress(text: string): InetAddress {
  const bytes = parseIp(text);
  if (!bytes) throw new RangeError(`read address ${text}: not an IPv4 or IPv6 address`);
  return text.includes(':')
    ? { family: AF_INET6, bytes }
    : { family: AF_INET, bytes: bytes.subarray(12) };
}

/** Reads `10.0.0.0/8` or `fd00::/8`; an address without a prefix length is a single address. Throws RangeError. */
export function readPrefix(text: string): InetPrefix {
  const range = parseCidr(text);
  if (!range) {
    throw new RangeError(`read prefix ${text}: not an address with a prefix length, as 10.0.0.0/8`);
  }
  return text.includes(':')
    ? { family: AF_INET6, bytes: range.address, prefixLength: range.prefixLength }
    : {
        family: AF_INET,
        bytes: range.address.subarray(12),
        prefixLength: range.prefixLength - 96,
      };
}

/** Returns the text of 4 or 16 bytes. Throws MalformedMessage for another length. */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length !== 16) {
    throw new MalformedMessage(`read address: ${bytes.length} bytes where 4 or 16 are needed`);
  }
  return isIpv4(bytes) ? `::ffff:${formatIp(bytes)}` : formatIp(bytes);
}

/** Returns the address of `family` that is all zeros, which is that of default routes. */
export function anyAddress(family: number): Uint8Array {
  return new Uint8Array(family === AF_INET ? 4 : 16);
}

/** Reads `02:00:00:00:00:01`. Throws RangeError. */
export function readMac(text: string): Uint8Array {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) {
    throw new RangeError(`read link address ${text}: not six bytes as 02:00:00:00:00:01`);
  }
  return Uint8Array.from(text.split(':'), (part) => Number.parseInt(part, 16));
}

/** Returns the text of a link-layer address of any length. */
export function macText(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/**
 * Returns `link` if it is an ifindex; `what` opens the message of the RangeError for anything
 * else. Plain JavaScript may pass a name, which would become index 0.
 */
export function checkedIndex(link: number, what: string): number {
  if (Number.isInteger(link) && link > 0 && link < 2 ** 31) return link;
  throw new RangeError(`${what}: link ${link} is not an ifindex (findLink returns that of a name)`);
}
