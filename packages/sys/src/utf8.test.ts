import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeCString, decodeUtf8, encodeCString, encodeUtf8 } from './utf8.ts';

test('UTF-8 encodes and decodes text of all planes', () => {
  const text = 'aé€😀\u0000z';
  assert.deepEqual([...encodeUtf8('é€😀')], [0xc3, 0xa9, 0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x80]);
  assert.equal(decodeUtf8(encodeUtf8(text)), text);
});

test('each malformed byte of UTF-8 becomes a replacement character', () => {
  assert.equal(
    decodeUtf8(Uint8Array.of(0x61, 0xff, 0xc0, 0xaf, 0xe2, 0x82)),
    'a\ufffd\ufffd\ufffd\ufffd\ufffd',
  );
  assert.equal(decodeUtf8(Uint8Array.of(0xed, 0xa0, 0x80)), '\ufffd\ufffd\ufffd');
  assert.equal(decodeUtf8(encodeUtf8('\ud800x')), '\ufffdx');
});

test('decodeCString ends at the first NUL', () => {
  assert.equal(decodeCString(Uint8Array.of(0x61, 0, 0x62)), 'a');
  assert.deepEqual([...encodeCString('ab')], [0x61, 0x62, 0]);
});

test('UTF-8 decodes any encoded text', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 5000 }), (text) => {
      assert.equal(decodeUtf8(encodeUtf8(text)), text);
    }),
    { numRuns: 50 },
  );
});
