import assert from 'node:assert/strict';
import { test } from 'node:test';
import { canonicalRange, inRanges } from '@heddle/objects';
import fc from 'fast-check';
import { addressPrefix, addressValue, covers, rangeInterval } from './address-values.ts';

const word = fc.constantFrom(0, 1, 0x7f, 0x80, 0xff);
const address4 = fc.tuple(word, word, word, word).map((bytes) => bytes.join('.'));
const group = fc.constantFrom('0', '1', 'ffff', '8000', 'ab');
const address6 = fc.array(group, { minLength: 8, maxLength: 8 }).map((groups) => groups.join(':'));
const range = fc.oneof(
  fc.tuple(address4, fc.integer({ min: 0, max: 32 })),
  fc.tuple(address6, fc.integer({ min: 0, max: 128 })),
);
const canonical = (text: string, length: number) => canonicalRange(`${text}/${length}`)!;

test('a range covers the same addresses as its interval', () => {
  const addresses = fc.oneof(
    address4.map((text) => canonical(text, 32)),
    address6.map((text) => canonical(text, 128)),
  );
  fc.assert(
    fc.property(range, addresses, ([text, length], host) => {
      const outer = canonical(text, length);
      const address = host.split('/')[0]!;
      if (outer.includes(':') !== address.includes(':')) return;
      const value = addressValue(address);
      assert.equal(covers(rangeInterval(outer), value), inRanges([outer], address));
    }),
    { numRuns: 1000 },
  );
});

test('values keep the order of addresses over the whole family', () => {
  const texts = ['0.0.0.0', '1.0.0.0', '127.255.255.255', '128.0.0.0', '255.255.255.255'];
  const values = texts.map(addressValue);
  assert.deepEqual(
    values.toSorted((a, b) => Number(a) - Number(b)),
    values,
  );
  assert.equal(addressValue('::1'), 1n);
  assert.equal(addressValue('1::'), 1n << 112n);
  const all = rangeInterval('0.0.0.0/0');
  assert.equal(
    texts.every((text) => covers(all, addressValue(text))),
    true,
  );
  assert.equal(rangeInterval('::/0').last, (1n << 128n) - 1n);
});

test('addressPrefix is the text of the value', () => {
  const texts = fc.oneof(
    address4.map((text) => canonical(text, 32)),
    address6.map((text) => canonical(text, 128)),
  );
  fc.assert(
    fc.property(texts, (text) => {
      assert.equal(addressPrefix(addressValue(text.split('/')[0]!)), text);
    }),
  );
});
