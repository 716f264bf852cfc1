/** Returns the one's complement sum of big-endian 16-bit words, folded (RFC 1071). `start` is an earlier sum. */
export function internetSum(bytes: Uint8Array, start = 0): number {
  let sum = start;
  for (let i = 0; i + 1 < bytes.length; i += 2) sum += (bytes[i]! << 8) | bytes[i + 1]!;
  if (bytes.length % 2 === 1) sum += bytes[bytes.length - 1]! << 8;
  return folded(sum);
}

/** Adds the bits beyond the lower 16 to the lower 16 until none is left. */
export function folded(sum: number): number {
  let rest = sum;
  while (rest > 0xffff) rest = (rest & 0xffff) + Math.floor(rest / 0x10000);
  return rest;
}

/** Returns the checksum of IPv4, TCP, UDP and ICMP for bytes whose checksum field is 0. */
export function internetChecksum(bytes: Uint8Array, pseudoHeaderSum = 0): number {
  return ~internetSum(bytes, pseudoHeaderSum) & 0xffff;
}

const polynomial = 0x82f63b78;
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ polynomial : crc >>> 1;
  return crc;
});

/** Returns the CRC32c (Castagnoli) of SCTP, which is little-endian in its header (RFC 9260, appendix A). */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ table[(crc ^ byte) & 0xff]!;
  return ~crc >>> 0;
}
