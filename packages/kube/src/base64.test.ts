import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeUtf8, encodeUtf8 } from '@heddle/sys';
import fc from 'fast-check';
import { decodeBase64, encodeBase64 } from './base64.ts';

test('base64 encodes and decodes the vectors of RFC 4648', () => {
  const vectors = {
    '': '',
    f: 'Zg==',
    fo: 'Zm8=',
    foo: 'Zm9v',
    foob: 'Zm9vYg==',
    fooba: 'Zm9vYmE=',
  };
  for (const [text, encoded] of Object.entries(vectors)) {
    assert.equal(encodeBase64(encodeUtf8(text)), encoded);
    assert.equal(decodeUtf8(decodeBase64(encoded)!), text);
  }
  assert.deepEqual([...decodeBase64(' +/\n+/ ')!], [0xfb, 0xff, 0xbf]);
});

test('decodeBase64 returns undefined for other text', () => {
  for (const text of ['Z', 'Zg', 'Zg=', 'Z===', '====', 'Zm-v', 'Zg==Zg==', 'é123']) {
    assert.equal(decodeBase64(text), undefined, text);
  }
});

test('base64 decodes any encoded bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      assert.deepEqual(decodeBase64(encodeBase64(bytes)), bytes);
    }),
  );
});
