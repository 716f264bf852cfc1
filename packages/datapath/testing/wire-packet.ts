// Parses packets from bytes, for tests with millions of them.

export interface WirePacket {
  readonly v4: boolean;
  /** Offset of what follows the IP header and its extensions. */
  readonly transport: number;
  readonly protocol: number;
  /** Network order, a character each. */
  readonly src: string;
  readonly dst: string;
  /** 0 where there are none. */
  readonly sport: number;
  readonly dport: number;
  /** True for an IP fragment, and for one after the first. */
  readonly isFragment: boolean;
  readonly isLater: boolean;
  /** Length of the IP packet by its header. */
  readonly length: number;
}

const ETHERNET = 14;
const extensions: ReadonlySet<number> = new Set([0, 43, 51, 60]);
const withPorts: ReadonlySet<number> = new Set([6, 17, 132]);

export const be16 = (bytes: Uint8Array, at: number) => (bytes[at]! << 8) | bytes[at + 1]!;

function text(bytes: Uint8Array, from: number, to: number): string {
  let characters = '';
  for (let i = from; i < to; i++) characters += String.fromCharCode(bytes[i]!);
  return characters;
}

/** Reads a frame, or undefined when it is no IP packet or its headers are cut short. */
export function readWirePacket(bytes: Uint8Array): WirePacket | undefined {
  const type = be16(bytes, 12);
  if (type === 0x800) return readIpv4(bytes);
  return type === 0x86dd ? readIpv6(bytes) : undefined;
}

function readIpv4(bytes: Uint8Array): WirePacket | undefined {
  const header = (bytes[ETHERNET]! & 15) * 4;
  if (bytes.length < ETHERNET + 20 || bytes[ETHERNET]! >> 4 !== 4 || header < 20) return undefined;
  const fragment = be16(bytes, 20) & 0x3fff;
  return withTransport(bytes, {
    v4: true,
    transport: ETHERNET + header,
    protocol: bytes[23]!,
    src: text(bytes, 26, 30),
    dst: text(bytes, 30, 34),
    isFragment: fragment !== 0,
    isLater: (fragment & 0x1fff) !== 0,
    length: be16(bytes, 16),
  });
}

function readIpv6(bytes: Uint8Array): WirePacket | undefined {
  if (bytes.length < ETHERNET + 40 || bytes[ETHERNET]! >> 4 !== 6) return undefined;
  let [protocol, transport] = [bytes[20]!, ETHERNET + 40];
  let fragment = 0;
  for (let n = 0; n < 6 && (extensions.has(protocol) || protocol === 44); n++) {
    if (bytes.length < transport + 2) return undefined;
    const [next, units] = [bytes[transport]!, bytes[transport + 1]!];
    if (protocol === 44) {
      if (bytes.length < transport + 8) return undefined;
      fragment |= be16(bytes, transport + 2) & 0xfff9;
    }
    transport += protocol === 44 ? 8 : protocol === 51 ? (units + 2) * 4 : (units + 1) * 8;
    protocol = next;
    if ((fragment & 0xfff8) !== 0) break;
  }
  return withTransport(bytes, {
    ...{ v4: false, transport, protocol },
    src: text(bytes, 22, 38),
    dst: text(bytes, 38, 54),
    isFragment: fragment !== 0,
    isLater: (fragment & 0xfff8) !== 0,
    length: be16(bytes, 18) + 40,
  });
}

function withTransport(
  bytes: Uint8Array,
  packet: Omit<WirePacket, 'sport' | 'dport'>,
): WirePacket | undefined {
  const { transport, protocol, isLater } = packet;
  if (isLater || !withPorts.has(protocol)) return { ...packet, sport: 0, dport: 0 };
  if (bytes.length < transport + 4) return undefined;
  return { ...packet, sport: be16(bytes, transport), dport: be16(bytes, transport + 2) };
}

/** Returns the offset of the checksum in the protocol's header, or undefined if it has another kind of checksum. */
export function checksumOffset(protocol: number): number | undefined {
  return { 1: 2, 6: 16, 17: 6, 58: 2 }[protocol];
}

function sum(bytes: Uint8Array, from: number, to: number, start = 0): number {
  let total = start;
  for (let i = from; i < to; i++) total += i % 2 === from % 2 ? bytes[i]! << 8 : bytes[i]!;
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}

/** Returns true when the checksum of the IPv4 header is right, and for IPv6, which has none. */
export function hasRightHeader(bytes: Uint8Array, { v4 }: WirePacket): boolean {
  return !v4 || sum(bytes, ETHERNET, ETHERNET + (bytes[ETHERNET]! & 15) * 4) === 0xffff;
}

/** Returns the sum of all that a transport checksum covers; undefined when not all of it is there. */
function transportSum(bytes: Uint8Array, packet: WirePacket): number | undefined {
  const { v4, transport, protocol, isFragment, length } = packet;
  const offset = checksumOffset(protocol);
  const end = ETHERNET + length;
  if (offset === undefined || isFragment || end > bytes.length) return undefined;
  if (transport + offset + 2 > end) return undefined;
  const pseudo =
    protocol === 1 ? 0 : sum(bytes, v4 ? 26 : 22, v4 ? 34 : 54, protocol + (end - transport));
  return sum(bytes, transport, end, pseudo);
}

/** Returns true if the TCP, UDP or ICMP checksum is right, undefined if it can't be checked or there is none. */
export function hasRightChecksum(bytes: Uint8Array, packet: WirePacket): boolean | undefined {
  const { protocol, transport } = packet;
  if (protocol === 17 && be16(bytes, transport + 6) === 0) return undefined;
  const total = transportSum(bytes, packet);
  return total === undefined ? undefined : total === 0xffff;
}

/** Makes the checksums right, as far as the packet has them. */
export function setChecksums(bytes: Uint8Array): void {
  const packet = readWirePacket(bytes);
  if (!packet) return;
  const set = (at: number, value: number) => {
    bytes[at] = value >> 8;
    bytes[at + 1] = value & 0xff;
  };
  const header = ETHERNET + (bytes[ETHERNET]! & 15) * 4;
  if (packet.v4 && header <= bytes.length) {
    set(24, 0);
    set(24, ~sum(bytes, ETHERNET, header) & 0xffff);
  }
  const offset = checksumOffset(packet.protocol);
  if (offset === undefined || transportSum(bytes, packet) === undefined) return;
  set(packet.transport + offset, 0);
  const value = ~transportSum(bytes, packet)! & 0xffff;
  set(packet.transport + offset, value === 0 && packet.protocol === 17 ? 0xffff : value);
}
