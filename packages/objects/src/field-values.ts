import { canonicalAddress, canonicalRange, specialAddress } from './addresses.ts';
import { compactList } from './memory.ts';

/** Thrown for a field whose value can't be used. readObject turns it into an `invalid` result. */
export class FieldError extends Error {
  readonly field: string;
  readonly value: unknown;

  constructor(field: string, value: unknown, rule: string) {
    super(rule);
    this.field = field;
    this.value = value;
  }
}

/** Returns milliseconds since 1970, or Infinity without a time. Throws FieldError. */
export function readTime(timestamp: string | undefined): number {
  if (timestamp === undefined) return Number.POSITIVE_INFINITY;
  const ms = Date.parse(timestamp);
  if (Number.isNaN(ms)) {
    throw new FieldError('metadata.creationTimestamp', timestamp, 'must be a time (RFC 3339)');
  }
  return ms;
}

/** Returns the ranges as canonical texts without duplicates. Throws FieldError. */
export function readRanges(field: string, texts: readonly string[]): readonly string[] {
  if (texts.length === 0) return compactList([]);
  const ranges = texts.map((text, i) => {
    const range = canonicalRange(text.trim());
    if (range !== undefined) return range;
    const rule = 'must be a range of addresses such as 192.0.2.0/24';
    throw new FieldError(`${field}[${i}]`, text, rule);
  });
  return compactList([...new Set(ranges)]);
}

/**
 * The use of an address. `cluster`: set by the cluster's administrator, who may use link-local
 * addresses.
 */
type AddressUse = 'cluster' | 'ordinary';

/** Returns the addresses as canonical texts without duplicates. Throws FieldError. */
export function readAddresses(
  field: string,
  texts: readonly string[],
  use: AddressUse,
): readonly string[] {
  if (texts.length === 0) return compactList([]);
  return compactList([
    ...new Set(texts.map((text, i) => readAddress(`${field}[${i}]`, text, use))),
  ]);
}

/** Returns an address as canonical text. Throws FieldError. */
export function readAddress(field: string, text: string, use: AddressUse): string {
  const address = canonicalAddress(text);
  if (address === undefined) throw new FieldError(field, text, 'must be an IP address');
  const special = specialAddress(address);
  // Addresses that the cluster's administrator chooses may be link-local.
  if (special && !(use === 'cluster' && special === 'a link-local address')) {
    throw new FieldError(field, text, `must not be ${special}`);
  }
  return address;
}
