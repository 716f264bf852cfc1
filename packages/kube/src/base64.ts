const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** Returns base64 with padding (RFC 4648, 4). */
export function encodeBase64(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 3) {
    const bits = (bytes[i]! << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    text += alphabet[bits >> 18]! + alphabet[(bits >> 12) & 63]!;
    text += i + 1 < bytes.length ? alphabet[(bits >> 6) & 63]! : '=';
    text += i + 2 < bytes.length ? alphabet[bits & 63]! : '=';
  }
  return text;
}

/** Reads base64 with padding. Line ends and spaces are ignored. Returns undefined for other text. */
export function decodeBase64(text: string): Uint8Array | undefined {
  const digits = text.replace(/\s+/g, '');
  const padding = digits.endsWith('==') ? 2 : digits.endsWith('=') ? 1 : 0;
  if (digits.length % 4 !== 0) return undefined;
  const bytes = new Uint8Array((digits.length / 4) * 3 - padding);
  let bits = 0;
  let at = 0;
  for (let i = 0; i < digits.length; i++) {
    const isPadding = i >= digits.length - padding;
    const value = isPadding ? 0 : alphabet.indexOf(digits[i]!);
    if (value < 0) return undefined;
    bits = (bits << 6) | value;
    if (i % 4 !== 3) continue;
    // Padding past the end of `bytes` is dropped.
    bytes[at++] = bits >> 16;
    bytes[at++] = bits >> 8;
    bytes[at++] = bits;
    bits = 0;
  }
  return bytes;
}
