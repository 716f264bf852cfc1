import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AddressFilter } from './address-filter.ts';

const words = 4096;
const bits = (bytes: Uint8Array) =>
  bytes.reduce((sum, byte) => sum + byte.toString(2).replaceAll('0', '').length, 0);

/** 10.96.X.Y, as IPv4 in IPv6. */
function address(number: number): Uint8Array {
  const bytes = new Uint8Array(16).fill(0xff, 10, 12);
  bytes.set([10, 96, number >> 8, number & 0xff], 12);
  return bytes;
}

test('an address sets one bit of the filter, and its neighbours set other bits', () => {
  const memory = new Uint8Array(8 * words);
  const filter = new AddressFilter({ length: words, first: () => memory, wrote() {} });
  filter.add(address(1));
  filter.add(address(1));
  assert.equal(bits(memory), 1);
  const count = 5000;
  for (let number = 1; number <= count; number++) filter.add(address(number));
  // About 1 % of as many random addresses collide with another.
  assert.ok(bits(memory) > 0.97 * count, `${count} addresses have ${bits(memory)} bits`);
});
