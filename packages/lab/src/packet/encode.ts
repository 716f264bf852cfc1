import { isIpv4, parseIp } from '@heddle/sys';
import { crc32c, internetChecksum, internetSum } from './checksum.ts';
import {
  type Checksum,
  etherTypes,
  type Icmp,
  type Ip,
  type Ipv4,
  type Ipv6,
  icmpTypes,
  icmpv6Types,
  type Layer,
  type PacketContent,
  protocols,
  type Sctp,
  sctpChunkTypes,
  type Tcp,
  type TcpOptions,
  tcpFlags,
  type Udp,
} from './layers.ts';

/** Returns the bytes of a packet. Throws RangeError for values that do not fit and malformed addresses. */
export function encodePacket({ layers, cut, trailer }: PacketContent): Uint8Array {
  let bytes: Uint8Array = new Uint8Array(0);
  for (let i = layers.length - 1; i >= 0; i--) {
    const enclosing = layers.slice(0, i).findLast((layer) => isIp(layer)) as Ip | undefined;
    bytes = encodeLayer(layers[i]!, layers[i + 1], enclosing, bytes);
  }
  if (trailer) bytes = concat(bytes, trailer);
  return cut === undefined ? bytes : bytes.slice(0, cut);
}

function isIp(layer: Layer): layer is Ip {
  return layer.kind === 'ipv4' || layer.kind === 'ipv6';
}

function encodeLayer(
  layer: Layer,
  next: Layer | undefined,
  ip: Ip | undefined,
  content: Uint8Array,
): Uint8Array {
  switch (layer.kind) {
    case 'eth': {
      const header = new Fields()
        .mac(layer.dst ?? '02:00:00:00:00:02')
        .mac(layer.src ?? '02:00:00:00:00:01')
        .u16(layer.type ?? etherTypes[next?.kind as 'ipv4'] ?? 0);
      return concat(header.bytes, content);
    }
    case 'ipv4':
      return encodeIpv4(layer, protocolOf(layer.protocol, next, 255), content);
    case 'ipv6':
      return encodeIpv6(layer, protocolOf(layer.nextHeader, next, 59), content);
    case 'hop-by-hop':
    case 'destination-options':
    case 'routing': {
      // PadN with four zeros is the shortest header.
      const data = layer.data ?? Uint8Array.of(1, 4, 0, 0, 0, 0);
      if (data.length % 8 !== 6) {
        throw new RangeError(`build ${layer.kind}: ${data.length} bytes, not 6 + a multiple of 8`);
      }
      const header = new Fields().u8(protocolOf(layer.nextHeader, next, 59)).u8(data.length >> 3);
      return concat(header.bytes, data, content);
    }
    case 'fragment': {
      const { id = 1, offset = 0, more = false, reserved = 0 } = layer;
      const header = new Fields()
        .u8(protocolOf(layer.nextHeader, next, 59))
        .u8(reserved & 0xff)
        .u16(units(offset) * 8 + ((reserved >> 8) & 3) * 2 + (more ? 1 : 0))
        .u32(id);
      return concat(header.bytes, content);
    }
    case 'tcp':
      return encodeTcp(layer, ip, content);
    case 'udp':
      return encodeUdp(layer, ip, content);
    case 'sctp':
      return encodeSctp(layer, content);
    case 'icmp':
    case 'icmpv6':
      return encodeIcmp(layer, ip, content);
    case 'payload':
      return concat(layer.bytes, content);
  }
}

function protocolOf(given: number | undefined, next: Layer | undefined, nothing: number): number {
  return given ?? protocols[next?.kind as keyof typeof protocols] ?? nothing;
}

/** Returns a fragment offset in units of 8 bytes, as headers contain it. */
function units(offset: number): number {
  if (offset % 8 !== 0)
    throw new RangeError(`build fragment: offset ${offset} is not a multiple of 8`);
  return offset / 8;
}

function encodeIpv4(layer: Ipv4, protocol: number, content: Uint8Array): Uint8Array {
  const { ttl = 64, tos = 0, id = 0, df, mf, reserved, offset = 0, options, checksum } = layer;
  const padded = padded4(options);
  const headerLength = 20 + padded.length;
  if (headerLength > 60) throw new RangeError(`build ipv4: ${padded.length} bytes of options`);
  const flags = (reserved ? 0x8000 : 0) | (df ? 0x4000 : 0) | (mf ? 0x2000 : 0);
  const header = new Fields()
    .u8(0x40 | (headerLength / 4))
    .u8(tos)
    .u16(layer.length ?? headerLength + content.length)
    .u16(id)
    .u16(flags | units(offset))
    .u8(ttl)
    .u8(protocol)
    .u16(0)
    .raw(ipv4Bytes(layer.src))
    .raw(ipv4Bytes(layer.dst))
    .raw(padded).bytes;
  writeChecksum(header, 10, checksum, internetChecksum(header), 0);
  return concat(header, content);
}

function encodeIpv6(layer: Ipv6, nextHeader: number, content: Uint8Array): Uint8Array {
  const { trafficClass = 0, flowLabel = 0, hopLimit = 64 } = layer;
  if (flowLabel > 0xfffff) throw new RangeError(`build ipv6: flow label ${flowLabel}`);
  const header = new Fields()
    .u32(0x60000000 + trafficClass * 0x100000 + flowLabel)
    .u16(layer.length ?? content.length)
    .u8(nextHeader)
    .u8(hopLimit)
    .raw(ipv6Bytes(layer.src))
    .raw(ipv6Bytes(layer.dst));
  return concat(header.bytes, content);
}

function encodeTcp(layer: Tcp, ip: Ip | undefined, content: Uint8Array): Uint8Array {
  const { options } = layer;
  const padded = padded4(options instanceof Uint8Array ? options : encodeTcpOptions(options ?? {}));
  const headerLength = 20 + padded.length;
  if (headerLength > 60) throw new RangeError(`build tcp: ${padded.length} bytes of options`);
  let flags = 0;
  for (const [name, bit] of Object.entries(tcpFlags)) {
    if (layer[name as keyof typeof tcpFlags]) flags |= bit;
  }
  const header = new Fields()
    .u16(layer.sport)
    .u16(layer.dport)
    .u32(layer.seq ?? 0)
    .u32(layer.ackSeq ?? 0)
    .u8(((headerLength / 4) << 4) | (layer.reserved ?? 0))
    .u8(flags)
    .u16(layer.window ?? 65535)
    .u16(0)
    .u16(layer.urgentPointer ?? 0)
    .raw(padded).bytes;
  const bytes = concat(header, content);
  const pseudo = pseudoHeaderSum(ip, protocols.tcp, bytes.length);
  writeChecksum(bytes, 16, layer.checksum, internetChecksum(bytes, pseudo), pseudo);
  return bytes;
}

function encodeTcpOptions(options: TcpOptions): Uint8Array {
  const { mss, sackPermitted, timestamps, windowScale } = options;
  const fields = new Fields();
  if (mss !== undefined) fields.u8(2).u8(4).u16(mss);
  if (sackPermitted) fields.u8(4).u8(2);
  if (timestamps) {
    // Aligned as in Linux: together with "SACK permitted", or after two NOPs.
    if (!sackPermitted) fields.u8(1).u8(1);
    fields.u8(8).u8(10).u32(timestamps[0]).u32(timestamps[1]);
  } else if (sackPermitted) fields.u8(1).u8(1);
  if (windowScale !== undefined) fields.u8(1).u8(3).u8(3).u8(windowScale);
  return fields.bytes;
}

function encodeUdp(layer: Udp, ip: Ip | undefined, content: Uint8Array): Uint8Array {
  const header = new Fields()
    .u16(layer.sport)
    .u16(layer.dport)
    .u16(layer.length ?? 8 + content.length)
    .u16(0);
  const bytes = concat(header.bytes, content);
  const pseudo = pseudoHeaderSum(ip, protocols.udp, bytes.length);
  // 0 would mean that there is no checksum.
  const right = internetChecksum(bytes, pseudo) || 0xffff;
  writeChecksum(bytes, 6, layer.checksum, right, pseudo);
  return bytes;
}

function encodeSctp(layer: Sctp, content: Uint8Array): Uint8Array {
  const fields = new Fields()
    .u16(layer.sport)
    .u16(layer.dport)
    .u32(layer.tag ?? 0)
    .u32(0);
  for (const { type, flags = 0, value = new Uint8Array(0) } of layer.chunks ?? []) {
    fields.u8(typeof type === 'number' ? type : sctpChunkTypes[type]).u8(flags);
    fields.u16(4 + value.length).raw(padded4(value));
  }
  const bytes = concat(fields.bytes, content);
  const right = crc32c(bytes);
  const { checksum = right } = layer;
  const value = checksum === 'wrong' ? (right ^ 1) >>> 0 : checksum;
  new DataView(bytes.buffer).setUint32(8, value, true);
  return bytes;
}

function encodeIcmp(layer: Icmp, ip: Ip | undefined, content: Uint8Array): Uint8Array {
  const [type, code] = icmpNumbers(layer);
  const { id = 0, sequence = 0, mtu } = layer;
  const header = new Fields().u8(type).u8(code).u16(0);
  if (mtu !== undefined) header.u32(mtu);
  else header.u16(id).u16(sequence);
  const embedded = layer.embedded ? encodePacket(layer.embedded) : new Uint8Array(0);
  const bytes = concat(header.bytes, embedded, content);
  // ICMP for IPv4 has no pseudo-header.
  const pseudo = layer.kind === 'icmpv6' ? pseudoHeaderSum(ip, protocols.icmpv6, bytes.length) : 0;
  writeChecksum(bytes, 2, layer.checksum, internetChecksum(bytes, pseudo), pseudo);
  return bytes;
}

/** Returns type and code. Throws RangeError for an unknown name. */
export function icmpNumbers({ kind, type }: Pick<Icmp, 'kind' | 'type'>): [number, number] {
  const names: Readonly<Record<string, string>> = kind === 'icmp' ? icmpTypes : icmpv6Types;
  const match = /^(\d+)\/(\d+)$/.exec(names[type] ?? type);
  if (!match) throw new RangeError(`build ${kind}: type ${type} is neither a name nor type/code`);
  return [Number(match[1]), Number(match[2])];
}

/** Returns the sum of source, destination, protocol and length (RFC 9293, 3.1; RFC 8200, 8.1), not inverted. */
function pseudoHeaderSum(ip: Ip | undefined, protocol: number, length: number): number {
  if (!ip) return 0;
  const address = ip.kind === 'ipv4' ? ipv4Bytes : ipv6Bytes;
  const fields = new Fields().raw(address(ip.src)).raw(address(ip.dst)).u32(protocol).u32(length);
  return internetSum(fields.bytes);
}

function writeChecksum(
  bytes: Uint8Array,
  at: number,
  wanted: Checksum | undefined,
  right: number,
  pseudo: number,
): void {
  // In UDP, 0 would be no checksum instead of a wrong one.
  const special = { none: 0, partial: pseudo, wrong: right ^ 1 || 2 } as const;
  const value = wanted === undefined ? right : (special[wanted as 'none'] ?? (wanted as number));
  new DataView(bytes.buffer).setUint16(at, value);
}

function ipv4Bytes(text: string): Uint8Array {
  const ip = parseIp(text);
  if (!ip || text.includes(':')) throw new RangeError(`build ipv4: ${text} is not an IPv4 address`);
  return ip.subarray(12);
}

function ipv6Bytes(text: string): Uint8Array {
  const ip = parseIp(text);
  // formatIp writes ::ffff:a.b.c.d without its prefix, so an address without it is accepted as well.
  if (!ip || (!text.includes(':') && !isIpv4(ip))) {
    throw new RangeError(`build ipv6: ${text} is not an IPv6 address`);
  }
  return ip;
}

function padded4(bytes: Uint8Array | undefined): Uint8Array {
  if (!bytes) return new Uint8Array(0);
  return concat(bytes, new Uint8Array(-bytes.length & 3));
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Appends numbers in network byte order. */
class Fields {
  readonly #bytes: number[] = [];

  get bytes(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }

  u8(value: number): this {
    return this.#number(value, 1);
  }

  u16(value: number): this {
    return this.#number(value, 2);
  }

  u32(value: number): this {
    return this.#number(value, 4);
  }

  raw(bytes: Uint8Array): this {
    for (const byte of bytes) this.#bytes.push(byte);
    return this;
  }

  mac(text: string): this {
    if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text)) {
      throw new RangeError(`build eth: ${text} is not like 02:00:00:00:00:01`);
    }
    return this.raw(Uint8Array.from(text.split(':'), (part) => Number.parseInt(part, 16)));
  }

  #number(value: number, size: number): this {
    if (!Number.isInteger(value) || value < 0 || value >= 2 ** (8 * size)) {
      throw new RangeError(`build packet: ${value} does not fit into ${size} bytes`);
    }
    for (let i = size - 1; i >= 0; i--) this.#bytes.push(Math.floor(value / 2 ** (8 * i)) & 0xff);
    return this;
  }
}
