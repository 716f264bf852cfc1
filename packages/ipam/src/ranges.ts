import { cidrContains, formatIp, type IpBytes, isIpv4, parseCidr } from '@heddle/sys';

export type Family = 'IPv4' | 'IPv6';

/** A host number of a range: the address is the range's first address plus this number. */
export type HostIndex = number;

/** No node has more pods than this, so a larger range gives away only its first addresses. */
const largestSize = 65_536;

/** The host number of the node's own address in a range, the router of its pods. */
const routerIndex = 1;

/** A range of addresses that one node gives to its pods. */
export interface PodRange {
  /** The range as text, e.g. `10.7.0.0/24`. */
  readonly text: string;
  readonly family: Family;
  /** The first and the last host number that a pod can have. The range has none if first > last. */
  readonly first: HostIndex;
  readonly last: HostIndex;
  /** The address of the node in this range. */
  readonly router: string;
}

/** Ranges, and sentences about texts that are no usable ranges. */
export interface ParsedRanges {
  readonly ranges: readonly PodRange[];
  readonly problems: readonly string[];
}

interface KnownRange extends PodRange {
  readonly base: IpBytes;
  readonly prefixLength: number;
}

/**
 * Reads ranges such as `10.7.0.0/24` and `fd00:7::/64`. The network address, the node's router address
 * (number 1) and the broadcast address are not for pods. Texts that are no ranges, and ranges that overlap
 * an earlier one, are left out and reported.
 */
export function parseRanges(texts: readonly string[]): ParsedRanges {
  const ranges: KnownRange[] = [];
  const problems: string[] = [];
  for (const text of texts) {
    const range = parseRange(text);
    if (!range) {
      problems.push(`${text} is no range of addresses; write one such as 10.7.0.0/24`);
      continue;
    }
    const other = ranges.find((each) => overlaps(each, range));
    if (other) {
      if (other.text !== range.text) problems.push(`${range.text} overlaps ${other.text}`);
      continue;
    }
    if (range.first > range.last) problems.push(`${range.text} has no address for a pod`);
    ranges.push(range);
  }
  return { ranges, problems };
}

function parseRange(text: string): KnownRange | undefined {
  const cidr = text.includes('/') ? parseCidr(text.trim()) : undefined;
  if (!cidr) return undefined;
  const { prefixLength } = cidr;
  const base = masked(cidr.address, prefixLength);
  const isV4 = isIpv4(base) && prefixLength >= 96;
  const hostBits = 128 - prefixLength;
  const size = hostBits >= 16 ? largestSize : 2 ** hostBits;
  const isWhole = hostBits <= 16;
  return {
    text: `${formatIp(base)}/${isV4 ? prefixLength - 96 : prefixLength}`,
    family: isV4 ? 'IPv4' : 'IPv6',
    first: routerIndex + 1,
    // The last address of a whole range is its broadcast address.
    last: isWhole ? size - 2 : size - 1,
    router: formatIp(plus(base, routerIndex)),
    ...{ base, prefixLength },
  };
}

/** Returns the address with that host number. */
export function addressAt(range: PodRange, index: HostIndex): string {
  return formatIp(plus((range as KnownRange).base, index));
}

/** Returns the host number of an address in the range, or undefined for an address outside of it. */
export function indexIn(range: PodRange, address: IpBytes): HostIndex | undefined {
  const { base, prefixLength } = range as KnownRange;
  if (!cidrContains({ address: base, prefixLength }, address)) return undefined;
  let index = 0;
  for (let i = 0; i < 16; i++) index = index * 256 + (address[i]! - base[i]!);
  return index;
}

function overlaps(a: KnownRange, b: KnownRange): boolean {
  const prefixLength = Math.min(a.prefixLength, b.prefixLength);
  return a.family === b.family && cidrContains({ address: a.base, prefixLength }, b.base);
}

function masked(address: IpBytes, prefixLength: number): IpBytes {
  return address.map((byte, i) => {
    const bits = Math.min(8, Math.max(0, prefixLength - 8 * i));
    return byte & (0xff00 >> bits);
  });
}

function plus(base: IpBytes, index: HostIndex): IpBytes {
  const sum = base.slice();
  let rest = index;
  for (let i = 15; i >= 0 && rest > 0; i--) {
    const value = sum[i]! + (rest % 256);
    sum[i] = value & 0xff;
    rest = Math.floor(rest / 256) + (value >> 8);
  }
  return sum;
}
