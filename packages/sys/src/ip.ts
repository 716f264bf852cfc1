/**
 * An IP address in Heddle: 16 bytes in network byte order. IPv4 is `::ffff:a.b.c.d` (RFC 4291,
 * 2.5.5.2).
 */
export type IpBytes = Uint8Array;

/**
 * Reads an IPv4 or IPv6 address. Returns undefined for other text, also for addresses with a zone
 * (`%eth0`). Leading zeros in IPv4 are decimal, as in Kubernetes' ParseIPSloppy.
 */
export function parseIp(text: string): IpBytes | undefined {
  const bytes = new Uint8Array(16);
  if (!text.includes(':')) {
    bytes[10] = bytes[11] = 0xff;
    return readIpv4(text, bytes, 12) ? bytes : undefined;
  }
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1]!, true) : [];
  if (!head || !tail) return undefined;
  if (halves.length === 1 ? head.length !== 16 : head.length + tail.length > 14) return undefined;
  bytes.set(head, 0);
  bytes.set(tail, 16 - tail.length);
  return bytes;
}

/** Reads character by character, because a cold start reads each address of the cluster. */
function readIpv4(text: string, into: Uint8Array | number[], offset: number): boolean {
  let part = 0;
  let value = 0;
  let digits = 0;
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : 46;
    if (code === 46) {
      if (digits === 0 || value > 255 || part > 3) return false;
      into[offset + part++] = value;
      value = digits = 0;
    } else {
      if (code < 48 || code > 57 || ++digits > 3) return false;
      value = value * 10 + code - 48;
    }
  }
  return part === 4;
}

function parseGroups(text: string, mayEndInIpv4: boolean): number[] | undefined {
  if (text === '') return [];
  const out: number[] = [];
  const groups = text.split(':');
  for (let i = 0; i < groups.length; i++) {
    const group = groups[i]!;
    if (mayEndInIpv4 && i === groups.length - 1 && group.includes('.')) {
      if (!readIpv4(group, out, out.length)) return undefined;
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined;
      const value = Number.parseInt(group, 16);
      out.push(value >> 8, value & 0xff);
    }
  }
  return out;
}

/** Returns true if the 16 bytes hold an IPv4 address. */
export function isIpv4(bytes: IpBytes): boolean {
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false;
  return bytes[10] === 0xff && bytes[11] === 0xff;
}

/** Returns the text of an address: dotted for IPv4, RFC 5952 for IPv6. */
export function formatIp(bytes: IpBytes): string {
  if (isIpv4(bytes)) return `${bytes[12]}.${bytes[13]}.${bytes[14]}.${bytes[15]}`;
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((bytes[i]! << 8) | bytes[i + 1]!);
  let zerosAt = -1;
  let zeros = 1;
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && groups[i + n] === 0) n++;
    if (n > zeros) {
      zerosAt = i;
      zeros = n;
    }
  }
  const hex = (part: number[]) => part.map((g) => g.toString(16)).join(':');
  if (zerosAt < 0) return hex(groups);
  return `${hex(groups.slice(0, zerosAt))}::${hex(groups.slice(zerosAt + zeros))}`;
}

/** Returns `10.0.0.1:80` or `[fd00::1]:80`. `port` is in host order. */
export function formatEndpoint(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** An address range: the address and the length of its prefix in the 128-bit form. */
export interface Cidr {
  readonly address: IpBytes;
  /** 0 to 128; an IPv4 prefix of n bits is 96 + n. */
  readonly prefixLength: number;
}

/** Reads `10.0.0.0/8`, `fd00::/8`, or a single address (a range of one). Returns undefined for other text. */
export function parseCidr(text: string): Cidr | undefined {
  const [host, bits, ...rest] = text.split('/');
  const address = parseIp(host!);
  if (!address || rest.length > 0) return undefined;
  const base = isIpv4(address) && !host!.includes(':') ? 96 : 0;
  if (bits === undefined) return { address, prefixLength: 128 };
  if (!/^\d{1,3}$/.test(bits) || Number(bits) > 128 - base) return undefined;
  return { address, prefixLength: base + Number(bits) };
}

/** Returns true if `address` lies in `range`. */
export function cidrContains(range: Cidr, address: IpBytes): boolean {
  for (let bit = 0; bit < range.prefixLength; bit += 8) {
    const mask =
      range.prefixLength - bit >= 8 ? 0xff : (0xff << (8 - (range.prefixLength - bit))) & 0xff;
    if (((range.address[bit >> 3]! ^ address[bit >> 3]!) & mask) !== 0) return false;
  }
  return true;
}
