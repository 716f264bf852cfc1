import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIp } from '@heddle/sys';
import fc from 'fast-check';
import { addressAt, indexIn, parseRanges } from './ranges.ts';

const ends = (text: string) => {
  const [range] = parseRanges([text]).ranges;
  return range && [addressAt(range, range.first), addressAt(range, range.last), range.router];
};

test('parseRanges: network, router and broadcast address are not for pods', () => {
  assert.deepEqual(ends('10.7.0.0/24'), ['10.7.0.2', '10.7.0.254', '10.7.0.1']);
  assert.deepEqual(ends('10.7.0.64/26'), ['10.7.0.66', '10.7.0.126', '10.7.0.65']);
  assert.deepEqual(ends('10.7.0.0/30'), ['10.7.0.2', '10.7.0.2', '10.7.0.1']);
  assert.deepEqual(ends('fd00:7::/120'), ['fd00:7::2', 'fd00:7::fe', 'fd00:7::1']);
  assert.deepEqual(ends('10.7.0.0/16'), ['10.7.0.2', '10.7.255.254', '10.7.0.1']);
});

test('parseRanges: a large range gives away its first 65,536 addresses', () => {
  assert.deepEqual(ends('10.0.0.0/8'), ['10.0.0.2', '10.0.255.255', '10.0.0.1']);
  assert.deepEqual(ends('fd00:7::/64'), ['fd00:7::2', 'fd00:7::ffff', 'fd00:7::1']);
});

test('parseRanges: host bits of a range are cleared', () => {
  assert.equal(parseRanges(['10.7.1.9/24']).ranges[0]!.text, '10.7.1.0/24');
});

test('parseRanges: what is no range, overlaps or has no address is reported', () => {
  const texts = ['10.7.0.0/24', '10.7.0.0/24', '10.7.0.128/25', 'x', '10.7.0.1', '10.9.0.0/31'];
  const { ranges, problems } = parseRanges(texts);
  assert.deepEqual(
    ranges.map(({ text }) => text),
    ['10.7.0.0/24', '10.9.0.0/31'],
  );
  assert.deepEqual(problems, [
    '10.7.0.128/25 overlaps 10.7.0.0/24',
    'x is no range of addresses; write one such as 10.7.0.0/24',
    '10.7.0.1 is no range of addresses; write one such as 10.7.0.0/24',
    '10.9.0.0/31 has no address for a pod',
  ]);
});

test('indexIn is the inverse of addressAt', () => {
  const bits = fc.integer({ min: 0, max: 32 });
  fc.assert(
    fc.property(fc.ipV4(), bits, fc.integer({ min: 0, max: 70_000 }), (base, length, index) => {
      const [range] = parseRanges([`${base}/${length}`]).ranges;
      const isInside = index < 2 ** (32 - length);
      fc.pre(isInside);
      assert.equal(indexIn(range!, parseIp(addressAt(range!, index))!), index);
    }),
  );
});

test('indexIn returns undefined for an address outside of the range', () => {
  const [range] = parseRanges(['10.7.1.0/24']).ranges;
  for (const address of ['10.7.2.1', '10.7.0.255', 'fd00::1']) {
    assert.equal(indexIn(range!, parseIp(address)!), undefined);
  }
});
