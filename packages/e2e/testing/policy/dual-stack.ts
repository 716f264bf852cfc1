/** A policy with `ipBlock`s or `networks` as a tree of JSON. */
type Json = unknown;

/** Returns the IPv6 range that stands for an IPv4 range in the lab, whose hosts have addresses of both families. */
export function rangeOfV6(range: string): string {
  const [address = '', bits = ''] = range.split('/');
  const length = Number(bits);
  const bytes = address.split('.').map(Number);
  const hex = (byte: number) => byte.toString(16);
  if (length === 0) return '::/0';
  if (length <= 4 && bytes[0]! <= 15) return 'f000::/4';
  if (bytes[0] === 10 && bytes[1] === 244) {
    const node = `fd00:10:244:${bytes[2]}::`;
    if (length >= 24) return `${node}${bytes[3] === 0 ? '' : hex(bytes[3]!)}/${96 + length}`;
    return `fd00:10:244::/${length + 32}`;
  }
  if (length >= 24) return `fd00:${bytes.slice(0, 3).join(':')}::${hex(bytes[3]!)}/${96 + length}`;
  throw new RangeError(`find the IPv6 range of ${range}: the lab has none`);
}

/**
 * Returns a policy whose peers with IPv4 ranges have the same ranges of IPv6, too. `addresses` has the lab's addresses
 * of both families for single addresses of the policy.
 */
export function dualStack<Policy>(
  policy: Policy,
  addresses: ReadonlyMap<string, { readonly v4: string; readonly v6: string }>,
): Policy {
  const both = (range: string): string[] => {
    if (range.includes(':')) return [range];
    const known = range.endsWith('/32') && addresses.get(range.slice(0, -3));
    return known ? [`${known.v4}/32`, `${known.v6}/128`] : [range, rangeOfV6(range)];
  };
  const peers = (peer: { ipBlock?: { cidr: string; except?: string[] } }): Json[] => {
    const { ipBlock } = peer;
    if (!ipBlock) return [convert(peer)];
    const ofFamily = (cidr: string) => {
      const except = ipBlock.except
        ?.flatMap(both)
        .filter((each) => each.includes(':') === cidr.includes(':'));
      return { ipBlock: { cidr, ...(except && { except }) } };
    };
    return both(ipBlock.cidr).map(ofFamily);
  };
  const convert = (value: Json): Json => {
    if (Array.isArray(value)) return value.map(convert);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, each]) => {
        if ((key === 'from' || key === 'to') && Array.isArray(each))
          return [key, each.flatMap(peers)];
        if (key === 'networks' && Array.isArray(each))
          return [key, [...new Set(each.flatMap(both))]];
        return [key, convert(each)];
      }),
    );
  };
  return convert(policy) as Policy;
}
