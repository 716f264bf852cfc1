// Addresses as numbers, so that ranges are intervals. IPv4 addresses are small integers (with the sign bit flipped, which keeps their
// order), because V8 needs no memory for these.

export type AddressValue = number | bigint;

export interface Interval {
  /** Both included, and of one family. */
  readonly first: AddressValue;
  readonly last: AddressValue;
}

/** Returns the value of an address in canonical text. Values compare as the addresses of their family do. */
export function addressValue(text: string): AddressValue {
  return text.includes(':') ? value6(text) : value4(text) ^ signBit;
}

const signBit = 1 << 31;

function value4(text: string): number {
  let value = 0;
  let part = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 46) {
      value = (value << 8) | part;
      part = 0;
    } else part = part * 10 + code - 48;
  }
  return (value << 8) | part;
}

function value6(text: string): bigint {
  const [head = '', tail] = text.split('::');
  const groups = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const rest = tail === '' ? [] : tail.split(':');
    while (groups.length + rest.length < 8) groups.push('0');
    groups.push(...rest);
  }
  let high = 0;
  let value = 0n;
  for (const [i, group] of groups.entries()) {
    high = high * 0x10000 + Number.parseInt(group, 16);
    if (i % 2 === 0) continue;
    value = (value << 32n) | BigInt(high);
    high = 0;
  }
  return value;
}

/** Returns the addresses of a range in canonical text (`192.0.2.0/24`). */
export function rangeInterval(range: string): Interval {
  const [address = '', digits] = range.split('/');
  const length = Number(digits);
  const first = addressValue(address);
  if (typeof first === 'bigint') {
    return { first, last: first | ((1n << BigInt(128 - length)) - 1n) };
  }
  const mask = length === 0 ? -1 : 2 ** (32 - length) - 1;
  return { first, last: length === 0 ? ~signBit : first | mask };
}

/** Returns true if the interval contains all of the other one, which may be a single address. */
export function covers(outer: Interval, first: AddressValue, last: AddressValue = first): boolean {
  return outer.first <= first && last <= outer.last;
}

/** Returns the canonical text of an address with the length of its prefix: `192.0.2.1/32`, `2001:db8::1/128`. */
export function addressPrefix(value: AddressValue): string {
  if (typeof value === 'number') {
    const bits = value ^ signBit;
    return `${bits >>> 24}.${(bits >>> 16) & 255}.${(bits >>> 8) & 255}.${bits & 255}/32`;
  }
  return `${text6(value)}/128`;
}

/** Returns the canonical text (RFC 5952) of an IPv6 address: the first longest run of zeros is `::`. */
function text6(value: bigint): string {
  const digits = value.toString(16).padStart(32, '0');
  const groups = Array.from({ length: 8 }, (_, i) =>
    Number.parseInt(digits.slice(4 * i, 4 * i + 4), 16),
  );
  let [best, longest] = [0, 1];
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (groups[end] === 0) end++;
    if (end - i > longest) [best, longest] = [i, end - i];
    i = Math.max(i, end);
  }
  const text = (list: readonly number[]) => list.map((group) => group.toString(16)).join(':');
  if (longest === 1) return text(groups);
  return `${text(groups.slice(0, best))}::${text(groups.slice(best + longest))}`;
}
