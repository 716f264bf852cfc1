import { encodeUtf8 } from '@heddle/sys';

/**
 * Returns the UTF-8 bytes of a text, which may be in UTF-16 as some editors and shells of Windows write it: with a
 * byte order mark, or with a zero in one of its first two bytes, since a manifest begins with an ASCII character
 * (YAML 1.2, 5.2). Returns a sentence with the remedy for another encoding.
 */
export function toUtf8(bytes: Uint8Array): Uint8Array | string {
  const [a, b, c, d] = bytes;
  const remedy = '(save the file in UTF-8)';
  if (a === 0 && b === 0 && (c === 0xfe || c === 0)) return `it is text in UTF-32 ${remedy}`;
  if (a === 0xff && b === 0xfe && c === 0 && d === 0) return `it is text in UTF-32 ${remedy}`;
  if (a === 0xff && b === 0xfe) return fromUtf16(bytes.subarray(2), true, remedy);
  if (a === 0xfe && b === 0xff) return fromUtf16(bytes.subarray(2), false, remedy);
  if (a === 0 && b !== undefined) return fromUtf16(bytes, false, remedy);
  if (b === 0 && d === 0) return fromUtf16(bytes, true, remedy);
  return bytes;
}

function fromUtf16(bytes: Uint8Array, isLittle: boolean, remedy: string): Uint8Array | string {
  if (bytes.length % 2 === 1) {
    return `it is text in UTF-16 that ends in the middle of a character ${remedy}`;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const parts: string[] = [];
  const unitsAtOnce = 4096;
  for (let at = 0; at < bytes.length; at += 2 * unitsAtOnce) {
    const units: number[] = [];
    const end = Math.min(bytes.length, at + 2 * unitsAtOnce);
    for (let i = at; i < end; i += 2) units.push(view.getUint16(i, isLittle));
    parts.push(String.fromCharCode(...units));
  }
  return encodeUtf8(parts.join(''));
}
