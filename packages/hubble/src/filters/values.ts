import { cidrContains, isIpv4, parseCidr, parseIp } from '@heddle/sys';
import { FilterError } from './errors.ts';

/**
 * Compiles addresses and ranges in CIDR notation. A range of one family holds no address of the other.
 * Throws FilterError that names `field`.
 */
export function anyAddress(field: string, values: readonly string[]): (address: string) => boolean {
  const addresses = new Set<string>();
  const ranges: {
    readonly isV6: boolean;
    readonly range: NonNullable<ReturnType<typeof parseCidr>>;
  }[] = [];
  for (const value of values) {
    const isRange = value.includes('/');
    const range = isRange ? parseCidr(value) : undefined;
    if (range) ranges.push({ isV6: value.includes(':'), range });
    else if (!isRange && parseIp(value)) addresses.add(addressKey(value));
    else throw new FilterError(field, `"${value}" is neither an IP address nor a range of them`);
  }
  return (address) => {
    if (address === '') return false;
    const bytes = parseIp(address);
    if (!bytes) return false;
    if (addresses.has(bytes.join('.'))) return true;
    if (ranges.length === 0) return false;
    const isV6 = !isIpv4(bytes) || address.includes(':');
    return ranges.some((each) => each.isV6 === isV6 && cidrContains(each.range, bytes));
  };
}

function addressKey(text: string): string {
  return parseIp(text)!.join('.');
}

/** Returns the numbers of ports. Throws FilterError that names `field`. */
export function portNumbers(field: string, values: readonly string[]): ReadonlySet<number> {
  return new Set(
    values.map((value) => {
      if (!/^\d{1,6}$/.test(value) || Number(value) > 65535) {
        throw new FilterError(field, `"${value}" is not a port number (0 to 65535)`);
      }
      return Number(value);
    }),
  );
}

/** Matches the namespace and the name of an object. */
export type NameMatch = (namespace: string, name: string) => boolean;

/**
 * Compiles names of pods or services: `NAMESPACE/PREFIX`, `NAMESPACE/`, `/PREFIX` for all namespaces, or a
 * prefix in the namespace `default`. Throws FilterError that names `field`.
 */
export function anyName(field: string, values: readonly string[]): NameMatch {
  const parts = values.map((value) => {
    if (value === '') throw new FilterError(field, 'a name is empty');
    const [first, second] = value.split('/');
    return second === undefined
      ? { namespace: 'default', prefix: first! }
      : { namespace: first!, prefix: second };
  });
  return (namespace, name) =>
    (namespace !== '' || name !== '') &&
    parts.some(
      (each) =>
        (each.namespace === '' || each.namespace === namespace) && name.startsWith(each.prefix),
    );
}

/** Compiles HTTP status codes: three digits, or one or two and `+`. Throws FilterError. */
export function anyStatus(field: string, values: readonly string[]): (code: number) => boolean {
  const patterns = values.map((value) => {
    if (!/^([1-5][0-9]{2}|[1-5][0-9]?\+)$/.test(value)) {
      throw new FilterError(field, `"${value}" is no status code, such as 404, 40+ or 5+`);
    }
    return value.replace('+', '');
  });
  return (code) => {
    const text = String(code).padStart(3, '0');
    return code !== 0 && patterns.some((pattern) => text.startsWith(pattern));
  };
}
