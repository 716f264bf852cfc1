import { formatIp } from '@heddle/sys';
import { encodePacket } from './encode.ts';
import {
  etherTypes,
  type Icmp,
  icmpTypes,
  icmpv6Types,
  isIcmpError,
  type Layer,
  type PacketContent,
  protocols,
  type SctpChunk,
  sctpChunkTypes,
  tcpFlags,
} from './layers.ts';

/**
 * Reads a frame. Every sequence of bytes is a packet: bytes that cannot be parsed are payload, and
 * building the packet again returns the same bytes. Fields that follow from the rest of the packet
 * are absent when they are correct.
 */
export function parseFrame(bytes: Uint8Array): PacketContent {
  return read(bytes, 'frame');
}

/** Reads a packet that starts with its IP header, e.g. from an interface without link-layer addresses. */
export function parseIpPacket(bytes: Uint8Array): PacketContent {
  return read(bytes, 'ip');
}

function read(bytes: Uint8Array, start: 'frame' | 'ip'): PacketContent {
  const reader = new Reader(bytes);
  reader.run(reader[start]);
  const { layers, trailer } = reader;
  const headersCut = reader.missing > 0;
  const content: PacketContent = {
    layers,
    ...(headersCut ? { cut: bytes.length } : {}),
    ...(trailer.length > 0 ? { trailer } : {}),
  };
  return withoutObvious(content, bytes);
}

/** Fields that the builder computes. */
const derived = ['type', 'protocol', 'nextHeader', 'length', 'checksum'] as const;

/** Removes the fields that the builder would compute to the same value. */
function withoutObvious(content: PacketContent, bytes: Uint8Array): PacketContent {
  const layers = [...content.layers];
  for (let i = layers.length - 1; i >= 0; i--) {
    for (const field of derived) {
      if (!(field in layers[i]!) || (field === 'type' && layers[i]!.kind !== 'eth')) continue;
      const original = layers[i]!;
      const { [field as 'checksum']: _, ...rest } = original as { checksum?: unknown };
      const candidates = [
        rest,
        ...(field === 'checksum' ? [{ ...rest, checksum: 'partial' }] : []),
      ];
      for (const candidate of candidates) {
        layers[i] = candidate as unknown as Layer;
        if (equal(encodePacket({ ...content, layers }), bytes)) break;
        layers[i] = original;
      }
    }
  }
  return { ...content, layers };
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Reads a layer and returns the reader of the next one, or undefined when the rest is payload. */
type Step = ((this: Reader) => Step) | undefined;

/** Reads the layers one after the other. */
class Reader {
  readonly layers: Layer[] = [];
  trailer = new Uint8Array(0);
  /** Number of bytes that are missing from the last header. */
  missing = 0;
  #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  run(start: Step): void {
    for (let step = start; step; ) step = step.call(this);
    if (this.#bytes.length > 0) this.layers.push({ kind: 'payload', bytes: this.#bytes.slice() });
  }

  frame(): Step {
    const header = this.#peek(14);
    if (!header) return undefined;
    const { bytes, view } = header;
    const type = view.getUint16(12);
    this.#take(14, { kind: 'eth', dst: mac(bytes, 0), src: mac(bytes, 6), type });
    return type === etherTypes.ipv4 || type === etherTypes.ipv6 ? this.ip : undefined;
  }

  ip(): Step {
    const version = (this.#bytes[0] ?? 0) >> 4;
    if (version === 4) return this.#ipv4;
    return version === 6 ? this.#ipv6 : undefined;
  }

  #ipv4(): Step {
    const size = (this.#bytes[0]! & 15) * 4;
    const header = size >= 20 ? this.#peek(size) : undefined;
    if (!header) return undefined;
    const { bytes, view } = header;
    const length = view.getUint16(2);
    const flags = view.getUint16(6);
    const offset = (flags & 0x1fff) * 8;
    const protocol = bytes[9]!;
    this.#endAt(length >= size ? length : undefined);
    this.#take(size, {
      kind: 'ipv4',
      src: bytes.subarray(12, 16).join('.'),
      dst: bytes.subarray(16, 20).join('.'),
      ttl: bytes[8]!,
      ...unlessZero({ tos: bytes[1]!, id: view.getUint16(4), offset }),
      ...onlyTrue({ df: flags & 0x4000, mf: flags & 0x2000, reserved: flags & 0x8000 }),
      ...(size > 20 ? { options: bytes.slice(20) } : {}),
      ...{ protocol, length, checksum: view.getUint16(10) },
    });
    return this.#content(protocol, offset);
  }

  #ipv6(): Step {
    const header = this.#peek(40);
    if (!header) return undefined;
    const { bytes, view } = header;
    const first = view.getUint32(0);
    const length = view.getUint16(4);
    const nextHeader = bytes[6]!;
    this.#endAt(40 + length);
    this.#take(40, {
      kind: 'ipv6',
      src: formatIp(bytes.subarray(8, 24)),
      dst: formatIp(bytes.subarray(24, 40)),
      hopLimit: bytes[7]!,
      ...unlessZero({ trafficClass: (first >>> 20) & 0xff, flowLabel: first & 0xfffff }),
      ...{ nextHeader, length },
    });
    return this.#content(nextHeader, 0);
  }

  /** Returns the reader for the protocol number in an IP or extension header. */
  #content(protocol: number, offset: number): Step {
    if (offset > 0) return undefined;
    switch (protocol) {
      case protocols.ipv4:
        return this.#bytes[0]! >> 4 === 4 ? this.#ipv4 : undefined;
      case protocols.ipv6:
        return this.#bytes[0]! >> 4 === 6 ? this.#ipv6 : undefined;
      case protocols['hop-by-hop']:
        return () => this.#extension('hop-by-hop');
      case protocols['destination-options']:
        return () => this.#extension('destination-options');
      case protocols.routing:
        return () => this.#extension('routing');
      case protocols.fragment:
        return this.#fragment;
      case protocols.tcp:
        return this.#tcp;
      case protocols.udp:
        return this.#udp;
      case protocols.sctp:
        return this.#sctp;
      case protocols.icmp:
        return () => this.#icmp('icmp');
      case protocols.icmpv6:
        return () => this.#icmp('icmpv6');
      default:
        return undefined;
    }
  }

  #extension(kind: 'hop-by-hop' | 'destination-options' | 'routing'): Step {
    const size = ((this.#bytes[1] ?? 0) + 1) * 8;
    const header = this.#peek(size);
    if (!header) return undefined;
    const nextHeader = header.bytes[0]!;
    this.#take(size, { kind, data: header.bytes.slice(2), nextHeader });
    return this.#content(nextHeader, 0);
  }

  #fragment(): Step {
    const header = this.#peek(8);
    if (!header) return undefined;
    const { bytes, view } = header;
    const nextHeader = bytes[0]!;
    const word = view.getUint16(2);
    const offset = word & 0xfff8;
    this.#take(8, {
      kind: 'fragment',
      id: view.getUint32(4),
      ...unlessZero({ offset, reserved: bytes[1]! + ((word & 6) << 7) }),
      ...onlyTrue({ more: word & 1 }),
      nextHeader,
    });
    return this.#content(nextHeader, offset);
  }

  #tcp(): Step {
    // An ICMP error may contain only the ports and the sequence number (RFC 792).
    const dataOffset = this.#bytes[12];
    const size = dataOffset === undefined ? 20 : (dataOffset >> 4) * 4;
    const header = size >= 20 ? this.#peek(size, 8) : undefined;
    if (!header) return undefined;
    const { bytes, view } = header;
    const flags = Object.entries(tcpFlags).filter(([, bit]) => bytes[13]! & bit);
    this.#take(size, {
      kind: 'tcp',
      ...{ sport: view.getUint16(0), dport: view.getUint16(2) },
      ...{ seq: view.getUint32(4), ackSeq: view.getUint32(8) },
      ...Object.fromEntries(flags.map(([name]) => [name, true])),
      ...unlessZero({ reserved: bytes[12]! & 15, urgentPointer: view.getUint16(18) }),
      ...{ window: view.getUint16(14), checksum: view.getUint16(16) },
      ...(size > 20 ? { options: bytes.slice(20) } : {}),
    });
    return undefined;
  }

  #udp(): Step {
    const header = this.#peek(8);
    if (!header) return undefined;
    const { view } = header;
    this.#take(8, {
      kind: 'udp',
      ...{ sport: view.getUint16(0), dport: view.getUint16(2), length: view.getUint16(4) },
      checksum: view.getUint16(6) || 'none',
    });
    return undefined;
  }

  #sctp(): Step {
    const header = this.#peek(12, 8);
    if (!header) return undefined;
    const { view } = header;
    const ports = { sport: view.getUint16(0), dport: view.getUint16(2), tag: view.getUint32(4) };
    const chunks = header.missing > 0 ? undefined : readChunks(this.#bytes.subarray(12));
    this.#take(chunks ? this.#bytes.length : 12, {
      ...{ kind: 'sctp', ...ports, checksum: view.getUint32(8, true) },
      ...(chunks && chunks.length > 0 ? { chunks } : {}),
    });
    return undefined;
  }

  #icmp(kind: Icmp['kind']): Step {
    const header = this.#peek(8);
    if (!header) return undefined;
    const { bytes, view } = header;
    const [type, code] = [bytes[0]!, bytes[1]!];
    const content = this.#bytes.slice(8);
    const embedded = isIcmpError(kind, type) && content.length > 0;
    this.#take(embedded ? this.#bytes.length : 8, {
      ...{ kind, type: icmpName(kind, `${type}/${code}`), checksum: view.getUint16(2) },
      ...(isIcmpError(kind, type)
        ? unlessZero({ mtu: view.getUint32(4) })
        : unlessZero({ id: view.getUint16(4), sequence: view.getUint16(6) })),
      ...(embedded ? { embedded: parseIpPacket(content) } : {}),
    });
    return undefined;
  }

  /** Removes the trailer after the end of the outermost IP packet. */
  #endAt(length: number | undefined): void {
    const isOutermost = this.layers.every(({ kind }) => kind === 'eth');
    if (length === undefined || !isOutermost) return;
    this.trailer = this.#bytes.slice(length);
    this.#bytes = this.#bytes.subarray(0, length);
  }

  /** Returns the next `size` bytes. If at least `least` are there, zeros replace the missing ones. */
  #peek(size: number, least = size) {
    // A trailer is not a part of a header.
    if (this.#bytes.length < (this.trailer.length > 0 ? size : least)) return undefined;
    const bytes = new Uint8Array(size);
    bytes.set(this.#bytes.subarray(0, size));
    const missing = Math.max(0, size - this.#bytes.length);
    return { bytes, view: new DataView(bytes.buffer), missing };
  }

  #take(size: number, layer: Layer): void {
    this.layers.push(layer);
    this.missing = Math.max(0, size - this.#bytes.length);
    this.#bytes = this.#bytes.subarray(size);
  }
}

/** Returns undefined when the bytes are not a sequence of chunks, each padded with zeros. */
function readChunks(bytes: Uint8Array): SctpChunk[] | undefined {
  const chunks: SctpChunk[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (at + 4 > bytes.length) return undefined;
    const length = (bytes[at + 2]! << 8) | bytes[at + 3]!;
    const next = at + ((length + 3) & ~3);
    if (length < 4 || next > bytes.length) return undefined;
    if (bytes.subarray(at + length, next).some((byte) => byte !== 0)) return undefined;
    const number = bytes[at]!;
    const named = Object.entries(sctpChunkTypes).find(([, value]) => value === number);
    chunks.push({
      type: (named?.[0] as keyof typeof sctpChunkTypes) ?? number,
      ...unlessZero({ flags: bytes[at + 1]! }),
      ...(length > 4 ? { value: bytes.slice(at + 4, at + length) } : {}),
    });
    at = next;
  }
  return chunks;
}

function icmpName(kind: Icmp['kind'], numbers: string): string {
  const names = Object.entries(kind === 'icmp' ? icmpTypes : icmpv6Types);
  return names.find(([, value]) => value === numbers)?.[0] ?? numbers;
}

function mac(bytes: Uint8Array, at: number): string {
  const parts = Array.from(bytes.subarray(at, at + 6), (byte) =>
    byte.toString(16).padStart(2, '0'),
  );
  return parts.join(':');
}

function unlessZero<Values extends Record<string, number>>(values: Values): Partial<Values> {
  const kept = Object.entries(values).filter(([, value]) => value !== 0);
  return Object.fromEntries(kept) as Partial<Values>;
}

function onlyTrue(bits: Readonly<Record<string, number>>): Record<string, true> {
  const set = Object.entries(bits).filter(([, bit]) => bit !== 0);
  return Object.fromEntries(set.map(([name]) => [name, true as const]));
}
