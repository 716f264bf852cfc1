// The programs compute the same in bpf/lib/sctp.h.
const polynomial = 0x82f63b78;
const powers = 16;

/**
 * The CRC32c of each single bit after 1, 2, 4, ... 32,768 bytes of zero: 32 words for each number of bytes. A CRC is
 * linear, so the programs compute the effect of many zeros from them, in the same time for a long packet as for a short
 * one.
 */
export function crc32cPowers(): number[] {
  const words: number[] = [];
  for (let bit = 0; bit < 32; bit++) {
    let crc = 2 ** bit;
    for (let i = 0; i < 8; i++) crc = crc & 1 ? (crc >>> 1) ^ polynomial : crc >>> 1;
    words.push(crc >>> 0);
  }
  for (let power = 1; power < powers; power++) {
    const before = words.slice((power - 1) * 32, power * 32);
    const twice = (crc: number) =>
      before.reduce((sum, word, bit) => ((crc >>> bit) & 1 ? sum ^ word : sum), 0);
    for (const word of before) words.push(twice(word) >>> 0);
  }
  return words;
}
