import { parseIp } from '@heddle/sys';

// Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d. As keys of a Map they are texts of 16 characters.

const mappedPrefix = '\0\0\0\0\0\0\0\0\0\0\xff\xff';

export function keyOf(bytes: Uint8Array): string {
  return String.fromCharCode.apply(undefined, bytes as unknown as number[]);
}

/** Returns the key of an address in valid text form. */
export function keyOfText(address: string): string {
  return keyOf(parseIp(address)!);
}

export function isV4(bytes: Uint8Array): boolean {
  return keyOf(bytes.subarray(0, 12)) === mappedPrefix;
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Returns the 16-byte form of an IPv4 address of 4 bytes. */
export function mappedIpv4(ipv4: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(16);
  bytes[10] = 0xff;
  bytes[11] = 0xff;
  bytes.set(ipv4, 12);
  return bytes;
}
