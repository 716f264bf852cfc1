import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sandbox } from '../testing/kernel.ts';
import { addAddress, listAddresses, removeAddress } from './addresses.ts';
import { createVeth, findLink } from './links.ts';

test('addresses of both families are added, listed and removed', () => {
  using here = sandbox();
  createVeth(here.socket, { name: 'a', up: true }, { name: 'b' });
  const { index } = findLink(here.socket, 'a')!;
  addAddress(here.socket, index, '10.1.0.1/24');
  addAddress(here.socket, index, '169.254.1.1/32', { scope: 'link' });
  addAddress(here.socket, index, 'fd00::1/64');
  const listed = listAddresses(here.socket, index).map(
    ({ address, prefixLength, scope }) => `${address}/${prefixLength} ${scope}`,
  );
  // The kernel's order is by scope.
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
