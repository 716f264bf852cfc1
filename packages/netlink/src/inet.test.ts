import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AF_INET, AF_INET6 } from '@heddle/sys/net';
import fc from 'fast-check';
import { addressText, macText, readAddress, readMac, readPrefix } from './inet.ts';

test('addresses of both families are read and written', () => {
  assert.deepEqual(readAddress('10.0.0.1'), { family: AF_INET, bytes: Uint8Array.of(10, 0, 0, 1) });
  assert.equal(readAddress('fd00::1').family, AF_INET6);
  for (const text of ['10.0.0.1', 'fd00::1', '::', '0.0.0.0', '::ffff:10.0.0.1']) {
    assert.equal(addressText(readAddress(text).bytes), text);
  }
});

test('addressText of any 4 or 16 bytes is read back to the same bytes', () => {
  const bytes = fc.constantFrom(4, 16).chain((n) => fc.uint8Array({ minLength: n, maxLength: n }));
  fc.assert(
    fc.property(bytes, (given) => {
      const { family, bytes: back } = readAddress(addressText(given));
      assert.equal(family, given.length === 4 ? AF_INET : AF_INET6);
      assert.deepEqual([...back], [...given]);
    }),
  );
});

test('a prefix length counts the bits of its own family', () => {
  assert.equal(readPrefix('10.0.0.0/8').prefixLength, 8);
  assert.equal(readPrefix('0.0.0.0/0').prefixLength, 0);
  assert.equal(readPrefix('10.0.0.1').prefixLength, 32);
  assert.equal(readPrefix('fd00::/64').prefixLength, 64);
  assert.equal(readPrefix('::/0').family, AF_INET6);
  for (const bad of ['', '10.0.0.0/33', 'fd00::/129', '10.0.0/8', 'x']) {
    assert.throws(() => readPrefix(bad), RangeError, bad);
  }
  assert.throws(() => readAddress('10.0.0'), RangeError);
});

test('link addresses are read and written', () => {
  assert.equal(macText(readMac('02:00:0a:F4:01:fe')), '02:00:0a:f4:01:fe');
  for (const bad of ['', '02:00', '02:00:00:00:00:0g', '02-00-00-00-00-01']) {
    assert.throws(() => readMac(bad), RangeError, bad);
  }
});
