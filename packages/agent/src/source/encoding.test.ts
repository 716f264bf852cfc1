import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serviceReader } from '@heddle/objects';
import { decodeUtf8, encodeUtf8 } from '@heddle/sys';
import fc from 'fast-check';
import { toUtf8 } from './encoding.ts';
import { parseManifest } from './manifest-parser.ts';

function utf16(text: string, isLittle: boolean): Uint8Array {
  const bytes = new Uint8Array(2 * text.length);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < text.length; i++) view.setUint16(2 * i, text.charCodeAt(i), isLittle);
  return bytes;
}

test('UTF-16 is read in both byte orders, with and without a byte order mark', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), fc.boolean(), (more, isLittle) => {
      const text = `kind: ${more}`;
      for (const mark of ['\ufeff', '']) {
        const bytes = toUtf8(utf16(mark + text, isLittle));
        assert.ok(typeof bytes === 'object');
        assert.equal(decodeUtf8(bytes), text);
      }
      assert.deepEqual(toUtf8(encodeUtf8(text)), encodeUtf8(text));
    }),
  );
});

test('a manifest in UTF-16 gives the same objects as in UTF-8', () => {
  const text =
    'apiVersion: v1\nkind: Service\nmetadata: {name: wéb}\nspec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n';
  const [document] = parseManifest(serviceReader, utf16(`\ufeff${text}`, true)).documents;
  assert.deepEqual(
    document!.objects,
    parseManifest(serviceReader, encodeUtf8(text)).documents[0]!.objects,
  );
  assert.equal(document!.objects.length, 1);
});

test('UTF-32 and half of a character are errors with a remedy', () => {
  const problem = (...bytes: number[]) =>
    parseManifest(serviceReader, Uint8Array.from(bytes)).documents[0]!.error!;
  for (const bytes of [
    [0xff, 0xfe, 0, 0, 0x61, 0, 0, 0],
    [0, 0, 0xfe, 0xff, 0, 0, 0, 0x61],
    [0, 0, 0, 0x61],
  ]) {
    assert.equal(problem(...bytes).message, 'it is text in UTF-32 (save the file in UTF-8)');
  }
  assert.match(problem(0xff, 0xfe, 0x61).message, /ends in the middle of a character \(save/);
});

test('toUtf8 returns bytes or a problem for any bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 20 }), (bytes) => {
      const read = parseManifest(serviceReader, bytes);
      assert.ok(read.documents.length >= 0);
    }),
  );
});
