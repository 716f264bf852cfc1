import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { cidrContains, formatEndpoint, formatIp, isIpv4, parseCidr, parseIp } from './ip.ts';

test('parseIp returns IPv4 as ::ffff:a.b.c.d', () => {
  const bytes = parseIp('10.96.0.1')!;
  assert.deepEqual([...bytes], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 96, 0, 1]);
  assert.equal(isIpv4(bytes), true);
  assert.equal(formatIp(bytes), '10.96.0.1');
  assert.deepEqual(parseIp('::ffff:10.96.0.1'), bytes);
});

test('parseIp reads leading zeros in IPv4 as decimal', () => {
  assert.equal(formatIp(parseIp('010.096.000.01')!), '10.96.0.1');
});

test('formatIp writes IPv6 by RFC 5952', () => {
  for (const [text, canonical] of [
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['fd00:0:0:1:0:0:0:1', 'fd00:0:0:1::1'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
  ] as const) {
    assert.equal(formatIp(parseIp(text)!), canonical);
  }
});

test('parseIp returns undefined for other text', () => {
  for (const text of [
    '',
    '1.2.3',
    '1.2.3.256',
    '1.2.3.4.5',
    ':::',
    '1::2::3',
    '12345::',
    'fe80::1%eth0',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1.2.3.4::',
    'g::',
  ]) {
    assert.equal(parseIp(text), undefined, text);
  }
});

test('parseIp reads what formatIp writes, for any 16 bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
      assert.deepEqual([...parseIp(formatIp(bytes))!], [...bytes]);
    }),
    { numRuns: 200 },
  );
});

test('cidrContains compares the bits of the prefix', () => {
  const range = parseCidr('10.128.0.0/9')!;
  assert.equal(cidrContains(range, parseIp('10.200.1.1')!), true);
  assert.equal(cidrContains(range, parseIp('10.1.1.1')!), false);
  assert.equal(cidrContains(parseCidr('fd00::/8')!, parseIp('fdff::1')!), true);
  assert.equal(cidrContains(parseCidr('fd00::/8')!, parseIp('10.0.0.1')!), false);
  assert.equal(parseCidr('10.0.0.0/33'), undefined);
  assert.equal(parseCidr('10.0.0.0/x'), undefined);
});

test('formatEndpoint writes brackets for IPv6', () => {
  assert.equal(formatEndpoint('10.0.0.1', 80), '10.0.0.1:80');
  assert.equal(formatEndpoint('fd00::1', 80), '[fd00::1]:80');
});
