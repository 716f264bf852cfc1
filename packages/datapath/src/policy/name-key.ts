import { decodeDnsNameKey, dnsNameKeySize, encodeDnsNameKey } from '../generated/abi.ts';

/**
 * Returns the key of a name or pattern in the map `policy_names`: backwards, so that a domain is a prefix of the names
 * below it. An exact name ends with a byte 0, so that it is no prefix of others. The name is in lower case, of at most
 * 253 bytes of ASCII.
 */
export function nameKey(name: string): Uint8Array {
  // `*.example.com` becomes "moc.elpmaxe.".
  const text = name.startsWith('*.') ? name.slice(1) : `\0${name}`;
  const prefix = Array.from(text, (each) => each.charCodeAt(0)).reverse();
  const reversed = new Uint8Array(256);
  reversed.set(prefix);
  const key = new Uint8Array(dnsNameKeySize);
  encodeDnsNameKey({ prefixLength: prefix.length * 8, reversed }, key);
  return key;
}

/** Returns the name or pattern of a key. */
export function nameOf(key: Uint8Array): string {
  const { prefixLength, reversed } = decodeDnsNameKey(key);
  const text = String.fromCharCode(...reversed.subarray(0, prefixLength / 8).reverse());
  return text.startsWith('\0') ? text.slice(1) : `*${text}`;
}
