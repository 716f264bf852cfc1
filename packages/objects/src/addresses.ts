import { cidrContains, formatIp, type IpBytes, isIpv4, parseCidr, parseIp } from '@heddle/sys';
import { ownText } from './memory.ts';
import type { Family } from './records.ts';

/**
 * Returns an address as canonical text (dotted IPv4, RFC 5952), or undefined if `text` is no
 * address.
 */
export function canonicalAddress(text: string): string | undefined {
  const bytes = parseIp(text);
  return bytes && ownText(formatIp(bytes));
}

/**
 * Returns a CIDR range as canonical text with zero host bits (`192.0.2.0/24`), or undefined if
 * `text` is no range.
 */
export function canonicalRange(text: string): string | undefined {
  const range = text.includes('/') ? parseCidr(text) : undefined;
  if (!range) return undefined;
  const { prefixLength } = range;
  const address = range.address.map((byte, i) => {
    const bits = Math.min(8, Math.max(0, prefixLength - 8 * i));
    return byte & (0xff << (8 - bits));
  });
  const length = isIpv4(address) ? prefixLength - 96 : prefixLength;
  return ownText(`${formatIp(address)}/${length}`);
}

/** Returns the family of an address in canonical text. */
export function familyOf(address: string): Family {
  return address.includes(':') ? 'IPv6' : 'IPv4';
}

/**
 * Returns the unspecified address of a family. A frontend there serves loopback and guards `bind`.
 */
export function unspecifiedAddress(family: Family): string {
  return family === 'IPv4' ? '0.0.0.0' : '::';
}

const unspecified = [parseCidr('0.0.0.0')!, parseCidr('::')!];
const loopback = [parseCidr('127.0.0.0/8')!, parseCidr('::1')!];
const linkLocal = [parseCidr('169.254.0.0/16')!, parseCidr('fe80::/10')!];
const multicast = [parseCidr('224.0.0.0/4')!, parseCidr('ff00::/8')!];
const broadcast = [parseCidr('255.255.255.255')!];

const within = (ranges: typeof loopback, bytes: IpBytes) =>
  ranges.some((range) => cidrContains(range, bytes));

/** Returns true for `0.0.0.0` and `::`, in canonical text. */
export function isUnspecified(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}

/** Returns true for an address of 127.0.0.0/8 and for `::1`, in canonical text. */
export function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.');
}

/** Returns true if one of the ranges contains the address. All texts are canonical. */
export function inRanges(ranges: readonly string[], address: string): boolean {
  const bytes = parseIp(address)!;
  return ranges.some(
    (range) => familyOf(range) === familyOf(address) && cidrContains(parseCidr(range)!, bytes),
  );
}

/**
 * Returns the kind of an address that no service and no endpoint may have, by the rules of the API
 * server's validation, or undefined for an ordinary address. A frontend at such an address would
 * take over traffic that never was the service's (CVE-2021-25737 class).
 */
export function specialAddress(address: string): string | undefined {
  const bytes = parseIp(address)!;
  if (within(unspecified, bytes)) return 'the unspecified address';
  if (within(loopback, bytes)) return 'a loopback address';
  if (within(linkLocal, bytes)) return 'a link-local address';
  if (within(multicast, bytes)) return 'a multicast address';
  if (within(broadcast, bytes)) return 'the broadcast address';
  return undefined;
}

/**
 * Returns true if NodePorts are served at this address of the node. The unspecified address covers
 * loopback, and an IPv6 link-local address is ambiguous without its interface.
 */
export function takesNodePorts(address: string): boolean {
  const bytes = parseIp(address);
  if (!bytes) return false;
  return ![...unspecified, ...loopback, linkLocal[1]!].some((range) => cidrContains(range, bytes));
}
