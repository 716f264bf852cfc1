import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { crc32cPowers } from './crc32c.ts';

const polynomial = 0x82f63b78;

/** Returns the CRC after the given number of zero bytes, computed bit by bit. */
function behindZeros(crc: number, bytes: number): number {
  let rest = crc;
  for (let i = 0; i < 8 * bytes; i++) rest = rest & 1 ? (rest >>> 1) ^ polynomial : rest >>> 1;
  return rest >>> 0;
}

test('a CRC32c after zeros is computed from the powers', () => {
  const words = crc32cPowers();
  assert.equal(words.length, 16 * 32);
  const shifted = (crc: number, bytes: number) => {
    let rest = crc;
    for (let power = 0; power < 16; power++) {
      if (!((bytes >>> power) & 1)) continue;
      let sum = 0;
      for (let bit = 0; bit < 32; bit++) if ((rest >>> bit) & 1) sum ^= words[power * 32 + bit]!;
      rest = sum >>> 0;
    }
    return rest;
  };
  fc.assert(
    fc.property(fc.nat(0xffffffff), fc.nat(2000), (crc, bytes) => {
      assert.equal(shifted(crc, bytes), behindZeros(crc, bytes));
    }),
  );
  assert.equal(shifted(1, 65_535), behindZeros(1, 65_535));
});
