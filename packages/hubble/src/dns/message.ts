import { formatIp } from '@heddle/sys';

/** An answer of a name server, as far as flows show it. */
export interface DnsMessage {
  /** The name that was asked for, in lower case and without the final dot. */
  readonly query: string;
  readonly queryType: string;
  /** RFC 1035, 4.1.1, and RFC 6895. */
  readonly responseCode: number;
  /** The addresses of the name, also those to which a chain of CNAMEs leads. */
  readonly addresses: readonly string[];
  /** The names of the chain, in its order. */
  readonly canonicalNames: readonly string[];
  /** The least TTL of the chain and the addresses, in seconds; 0 without any. */
  readonly ttl: number;
  readonly recordTypes: readonly string[];
}

const headerBytes = 12;
/** The bytes between the name of a record and its data. */
const recordBytes = 10;
const recordsMax = 64;
const jumpsMax = 16;
/** RFC 1035, 2.3.4, as text without the final dot. */
const nameMax = 253;
const classIn = 1;

const typeNames: Readonly<Record<number, string>> = {
  ...{ 1: 'A', 2: 'NS', 5: 'CNAME', 6: 'SOA', 12: 'PTR', 15: 'MX', 16: 'TXT', 28: 'AAAA' },
  ...{ 33: 'SRV', 41: 'OPT', 46: 'RRSIG', 64: 'SVCB', 65: 'HTTPS', 255: 'ANY' },
};

/**
 * Reads an answer (RFC 1035, 4), of which only the first bytes may be there. Returns undefined for everything that is none,
 * and for names with characters that no host has: anyone may have sent the message. Addresses of records that belong to
 * another name than the one that was asked for do not count.
 */
export function readDnsAnswer(bytes: Uint8Array): DnsMessage | undefined {
  if (bytes.length < headerBytes) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const flags = view.getUint16(2);
  // A response to a standard query, with one question.
  if ((flags & 0xf800) !== 0x8000 || view.getUint16(4) !== 1) return undefined;
  const question = readName(bytes, headerBytes);
  if (!question || question.name === '' || question.end + 4 > bytes.length) return undefined;
  const answers = readRecords(
    ...([bytes, view, question.end + 4, question.name] as const),
    Math.min(view.getUint16(6), recordsMax),
  );
  return {
    ...{ query: question.name, queryType: typeName(view.getUint16(question.end)) },
    ...{ responseCode: flags & 0xf, ...answers },
  };
}

function readRecords(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  query: string,
  count: number,
): Pick<DnsMessage, 'addresses' | 'canonicalNames' | 'ttl' | 'recordTypes'> {
  const addresses = new Set<string>();
  const canonicalNames: string[] = [];
  const recordTypes: string[] = [];
  let [at, current, ttl] = [start, query, Number.POSITIVE_INFINITY];
  for (let number = 0; number < count; number++) {
    const owner = readName(bytes, at);
    if (!owner || owner.end + recordBytes > bytes.length) break;
    const type = view.getUint16(owner.end);
    const isIn = view.getUint16(owner.end + 2) === classIn;
    const seconds = view.getUint32(owner.end + 4);
    const data = owner.end + recordBytes;
    at = data + view.getUint16(owner.end + 8);
    if (at > bytes.length) break;
    recordTypes.push(typeName(type));
    if (!isIn || owner.name !== current) continue;
    const canonical = type === 5 ? readName(bytes, data)?.name : undefined;
    const address = addressAt(bytes.subarray(data, at), type);
    if (canonical === undefined && address === undefined) continue;
    // A TTL with the highest bit counts as 0 (RFC 2181, 8).
    ttl = Math.min(ttl, seconds >>> 31 === 1 ? 0 : seconds);
    if (address !== undefined) addresses.add(address);
    if (canonical === undefined) continue;
    canonicalNames.push(canonical);
    current = canonical;
  }
  return {
    ...{ addresses: [...addresses], canonicalNames, recordTypes },
    ttl: Number.isFinite(ttl) ? ttl : 0,
  };
}

function addressAt(data: Uint8Array, type: number): string | undefined {
  if (type === 1 && data.length === 4) return data.join('.');
  if (type !== 28 || data.length !== 16) return undefined;
  const text = formatIp(data);
  // An IPv4 address within an IPv6 address is no address of a host.
  return text.includes('.') ? undefined : text;
}

/** Returns the name at a position and the position behind it. */
function readName(
  bytes: Uint8Array,
  start: number,
): { readonly name: string; readonly end: number } | undefined {
  let [at, end, jumps, name] = [start, 0, 0, ''];
  for (;;) {
    const length = bytes[at];
    if (length === undefined) return undefined;
    if (length === 0) return { name, end: end === 0 ? at + 1 : end };
    if (length >= 0xc0) {
      const to = ((length & 0x3f) << 8) | (bytes[at + 1] ?? 0);
      // A pointer leads to an earlier name.
      if (at + 1 >= bytes.length || to >= at || to < headerBytes || ++jumps > jumpsMax) {
        return undefined;
      }
      if (end === 0) end = at + 2;
      at = to;
      continue;
    }
    const label = length > 63 ? undefined : labelAt(bytes, at + 1, length);
    if (label === undefined) return undefined;
    name = name === '' ? label : `${name}.${label}`;
    if (name.length > nameMax) return undefined;
    at += 1 + length;
  }
}

/** Returns a label in lower case, unless it has characters that would hide what is shown. */
function labelAt(bytes: Uint8Array, start: number, length: number): string | undefined {
  if (start + length > bytes.length) return undefined;
  let label = '';
  for (const byte of bytes.subarray(start, start + length)) {
    // A dot within a label would look like the end of one.
    if (byte <= 0x20 || byte === 0x2e || byte >= 0x7f) return undefined;
    label += String.fromCharCode(byte);
  }
  return label.toLowerCase();
}

function typeName(type: number): string {
  return typeNames[type] ?? `TYPE${type}`;
}
