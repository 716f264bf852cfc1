import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32c, internetChecksum, internetSum } from './checksum.ts';

test('the checksum of the example in RFC 1071 is computed', () => {
  const bytes = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
  assert.equal(internetSum(bytes), 0xddf2);
  assert.equal(internetChecksum(bytes), 0x220d);
  assert.equal(
    internetSum(bytes.subarray(0, 3)),
    0x0001 + 0xf200,
    'an odd byte counts as the higher',
  );
});

test('CRC32c of the examples in RFC 3720 is computed', () => {
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
  assert.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
  assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e);
});
