import { formatIp, parseIp } from '@heddle/sys';
import { AF_INET, AF_INET6, AF_UNSPEC } from '@heddle/sys/net';

/** An IP address as 16 characters, one for each byte, IPv4 as ::ffff:a.b.c.d. It is a key of Maps. */
export type Address = string;

/** An address and a port in host order. */
export interface Endpoint {
  readonly address: Address;
  readonly port: number;
}

const mappedPrefix = '\0\0\0\0\0\0\0\0\0\0\xff\xff';

/** Reads an address. Throws Error for other text. */
export function addressOf(text: string): Address {
  const bytes = parseIp(text);
  if (!bytes) throw new Error(`read address ${text}: it is not an IP address`);
  return fromBytes(bytes);
}

/** Returns the address of 16 bytes. */
export function fromBytes(bytes: Uint8Array): Address {
  return String.fromCharCode.apply(undefined, bytes as unknown as number[]);
}

/** Returns the 16 bytes of an address. */
export function toBytes(address: Address): Uint8Array {
  return Uint8Array.from(address, (character) => character.charCodeAt(0));
}

/** Returns the text of an address. */
export function textOf(address: Address): string {
  return formatIp(toBytes(address));
}

export const isMapped = (address: Address) => address.startsWith(mappedPrefix);

/** 0.0.0.0 and ::. */
export const anyV4: Address = `${mappedPrefix}\0\0\0\0`;
export const anyV6: Address = '\0'.repeat(16);
export const loopbackV4: Address = `${mappedPrefix}\x7f\0\0\x01`;
export const loopbackV6: Address = `${'\0'.repeat(15)}\x01`;

export const isAny = (address: Address) => address === anyV4 || address === anyV6;

/** 255.255.255.255. */
export const broadcast: Address = `${mappedPrefix}\xff\xff\xff\xff`;

/** fe80::/10. */
export const isLinkLocal = (address: Address) =>
  address.charCodeAt(0) === 0xfe && (address.charCodeAt(1) & 0xc0) === 0x80;

/** 127.0.0.0/8 and ::1. */
export function isLoopback(address: Address): boolean {
  return address === loopbackV6 || (isMapped(address) && address.charCodeAt(12) === 127);
}

/** Reads struct sockaddr_in or sockaddr_in6. Returns undefined for others. */
export function readSockaddr(
  bytes: Uint8Array,
): { family: number; endpoint: Endpoint } | undefined {
  if (bytes.length < 2) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const family = view.getUint16(0, true);
  if (family === AF_UNSPEC) return { family, endpoint: { address: anyV6, port: 0 } };
  if (family === AF_INET && bytes.length >= 16) {
    const address = mappedPrefix + fromBytes(bytes.subarray(4, 8));
    return { family, endpoint: { address, port: view.getUint16(2) } };
  }
  if (family === AF_INET6 && bytes.length >= 28) {
    return {
      family,
      endpoint: { address: fromBytes(bytes.subarray(8, 24)), port: view.getUint16(2) },
    };
  }
  return undefined;
}

/** Writes the structure of the family, as far as there is room. */
export function writeSockaddr(into: Uint8Array, family: number, { address, port }: Endpoint): void {
  const bytes = new Uint8Array(family === AF_INET ? 16 : 28);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, family, true);
  view.setUint16(2, port);
  if (family === AF_INET) bytes.set(toBytes(address).subarray(12), 4);
  else bytes.set(toBytes(address), 8);
  into.set(bytes.subarray(0, into.length));
}
