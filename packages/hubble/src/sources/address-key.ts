import { type IpBytes, parseIp } from '@heddle/sys';

/** Returns the 16 bytes of an address as a text of as many characters, for a key of a Map. */
export function addressKey(address: IpBytes): string {
  return Buffer.from(address.buffer, address.byteOffset, 16).toString('latin1');
}

/** Returns the key of an address in text form; the empty text if it is none. */
export function addressKeyOf(address: string): string {
  const bytes = parseIp(address);
  return bytes ? addressKey(bytes) : '';
}
