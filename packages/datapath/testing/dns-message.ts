/** Builds DNS messages, well-formed and not, and reads them as RFC 1035 says, without regard to speed. */

/** A record of an answer. `name` and CNAME targets are texts without the final dot. */
export interface DnsRecord {
  readonly name: string;
  readonly type: number;
  readonly ttl: number;
  /** The class; 1 (IN) without it. */
  readonly class?: number;
  /** An address of 4 or 16 bytes, other data, or the target of a CNAME. */
  readonly data: Uint8Array | string;
}

export interface DnsAnswer {
  readonly question: string;
  readonly records: readonly DnsRecord[];
  /** The flags of the header; a response without error if it is absent. */
  readonly flags?: number;
  /** Writes names in full instead of pointers to earlier ones. */
  readonly isPlain?: boolean;
}

export const dnsTypes = { a: 1, cname: 5, aaaa: 28, txt: 16 } as const;

/** Returns the bytes of an answer. */
export function encodeAnswer({
  question,
  records,
  flags = 0x8180,
  isPlain,
}: DnsAnswer): Uint8Array {
  const bytes: number[] = [];
  const places = new Map<string, number>();
  const u16 = (value: number) => bytes.push((value >> 8) & 0xff, value & 0xff);
  const name = (text: string) => {
    for (let rest = text; rest !== ''; rest = rest.slice(rest.indexOf('.') + 1 || rest.length)) {
      const known = places.get(rest.toLowerCase());
      if (known !== undefined && !isPlain) {
        u16(0xc000 | known);
        return;
      }
      if (bytes.length < 0x4000) places.set(rest.toLowerCase(), bytes.length);
      const label = rest.split('.')[0]!;
      bytes.push(label.length, ...Array.from(label, (each) => each.charCodeAt(0)));
    }
    bytes.push(0);
  };
  u16(0x1234);
  u16(flags);
  for (const count of [1, records.length, 0, 0]) u16(count);
  name(question);
  u16(dnsTypes.a);
  u16(1);
  for (const record of records) {
    name(record.name);
    u16(record.type);
    u16(record.class ?? 1);
    u16(record.ttl >>> 16);
    u16(record.ttl & 0xffff);
    const length = bytes.length;
    u16(0);
    if (typeof record.data === 'string') name(record.data);
    else bytes.push(...record.data);
    const size = bytes.length - length - 2;
    bytes[length] = size >> 8;
    bytes[length + 1] = size & 0xff;
  }
  return Uint8Array.from(bytes);
}

/** The addresses that an answer gives to the name that was asked for. */
export interface ReadAnswer {
  /** In lower case. */
  readonly question: string;
  /** The least TTL of the chain to each address, by its bytes in hexadecimal digits. */
  readonly addresses: ReadonlyMap<string, number>;
}

/** Reads an answer up to the first record that is malformed. Returns undefined for what is none. */
export function readAnswer(bytes: Uint8Array): ReadAnswer | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < 12) return undefined;
  const flags = view.getUint16(2);
  const isAnswer = flags >> 15 === 1 && ((flags >> 11) & 0xf) === 0 && (flags & 0xf) === 0;
  const count = view.getUint16(6);
  if (!isAnswer || view.getUint16(4) !== 1 || count === 0) return undefined;
  const question = readName(bytes, 12);
  if (!question || question.end + 4 > bytes.length) return undefined;
  if (view.getUint16(question.end + 2) !== 1) return undefined;
  const addresses = new Map<string, number>();
  let at = question.end + 4;
  let owner = question.text;
  let chain = 0xffffffff;
  for (let i = 0; i < Math.min(count, 64); i++) {
    const name = readName(bytes, at);
    if (!name || name.end + 10 > bytes.length) break;
    const type = view.getUint16(name.end);
    const ttl = view.getUint32(name.end + 4);
    const length = view.getUint16(name.end + 8);
    const data = name.end + 10;
    if (data + length > bytes.length) break;
    at = data + length;
    if (name.text !== owner || view.getUint16(name.end + 2) !== 1) continue;
    const least = Math.min(chain, ttl > 0x7fffffff ? 0 : ttl);
    if (type === dnsTypes.cname) {
      const target = readName(bytes, data);
      if (!target || target.end !== at) break;
      owner = target.text;
      chain = least;
    } else if ((type === dnsTypes.a && length === 4) || (type === dnsTypes.aaaa && length === 16)) {
      const key = Buffer.from(bytes.subarray(data, at)).toString('hex');
      addresses.set(key, Math.max(addresses.get(key) ?? 0, least));
    }
  }
  return { question: question.text, addresses };
}

/** Reads a name in lower case. Returns undefined for one that no host can have. */
function readName(bytes: Uint8Array, start: number): { text: string; end: number } | undefined {
  const labels: string[] = [];
  let at = start;
  let end: number | undefined;
  for (let jumps = 0; ; ) {
    const length = bytes[at];
    if (length === undefined) return undefined;
    if (length >= 0xc0) {
      const low = bytes[at + 1];
      if (low === undefined || ++jumps > 16) return undefined;
      const to = ((length & 0x3f) << 8) | low;
      if (to < 12 || to >= at) return undefined;
      end ??= at + 2;
      at = to;
      continue;
    }
    if (length > 63) return undefined;
    if (length === 0) break;
    const label = bytes.subarray(at + 1, at + 1 + length);
    if (label.length < length || label.some((byte) => byte <= 0x20 || byte === 0x2e || byte >= 127))
      return undefined;
    labels.push(String.fromCharCode(...label).toLowerCase());
    at += 1 + length;
  }
  const text = labels.join('.');
  return text.length > 253 ? undefined : { text, end: end ?? at + 1 };
}
