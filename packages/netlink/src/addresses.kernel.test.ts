import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sandbox } from '../testing/kernel.ts';
import { addAddress, listAddresses, removeAddress } from './addresses.ts';
import { createVeth } from './links.ts';

test('an address without a prefix length, and a name in the place of an ifindex, are refused', () => {
  using here = sandbox();
  const { index } = createVeth(here.socket, { name: 'a', up: true }, { name: 'b' }).link;
  const message = (address: string, bits: number) =>
    `read address ${address}: it has no prefix length (write ${address}/${bits} for one without a subnet)`;
  for (const change of [addAddress, removeAddress]) {
    for (const [address, bits] of [
      ['10.9.0.1', 32],
      ['fd00::1', 128],
    ] as const) {
      const expected = { name: 'RangeError', message: message(address, bits) };
      assert.throws(() => change(here.socket, index, address), expected);
    }
    assert.throws(
      () => change(here.socket, 'a' as unknown as number, '10.9.0.1/32'),
      /link a is not an ifindex \(findLink returns that of a name\)$/,
    );
  }
  assert.deepEqual(listAddresses(here.socket, index), []);
});

test('addresses of both families are added, listed and removed', () => {
  using here = sandbox();
  const { index } = createVeth(here.socket, { name: 'a', up: true }, { name: 'b' }).link;
  addAddress(here.socket, index, '10.1.0.1/24');
  addAddress(here.socket, index, '169.254.1.1/32', { scope: 'link' });
  addAddress(here.socket, index, 'fd00::1/64');
  const listed = listAddresses(here.socket, index).map(
    ({ address, prefixLength, scope }) => `${address}/${prefixLength} ${scope}`,
  );
  // The kernel lists by scope.
  assert.deepEqual(listed.sort(), [
    '10.1.0.1/24 universe',
    '169.254.1.1/32 link',
    'fd00::1/64 universe',
  ]);
  assert.throws(() => addAddress(here.socket, index, '10.1.0.1/24'), { code: 'EEXIST' });
  assert.equal(removeAddress(here.socket, index, '10.1.0.1/24'), true);
  assert.equal(removeAddress(here.socket, index, '10.1.0.1/24'), false);
  assert.equal(removeAddress(here.socket, index, 'fd00::1/64'), true);
  assert.equal(removeAddress(here.socket, index, 'fd00::1/64'), false);
  assert.equal(listAddresses(here.socket, index).length, 1);
});
