import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  canonicalAddress,
  canonicalRange,
  familyOf,
  inRanges,
  isLoopback,
  isUnspecified,
  specialAddress,
  takesNodePorts,
} from './addresses.ts';

test('canonicalAddress returns one text for each address', () => {
  assert.equal(canonicalAddress('010.1.02.003'), '10.1.2.3');
  assert.equal(canonicalAddress('FD00:0:0:0:0:0:0:1'), 'fd00::1');
  assert.equal(canonicalAddress('::ffff:10.0.0.1'), '10.0.0.1');
  assert.equal(canonicalAddress('10.0.0'), undefined);
  assert.equal(familyOf('10.0.0.1'), 'IPv4');
  assert.equal(familyOf('fd00::1'), 'IPv6');
});

test('canonicalRange clears the host bits and returns undefined for other texts', () => {
  assert.equal(canonicalRange('192.0.2.77/24'), '192.0.2.0/24');
  assert.equal(canonicalRange('10.255.255.255/12'), '10.240.0.0/12');
  assert.equal(canonicalRange('0.0.0.0/0'), '0.0.0.0/0');
  assert.equal(canonicalRange('192.0.2.1/32'), '192.0.2.1/32');
  assert.equal(canonicalRange('FD00:1::ff/33'), 'fd00:1::/33');
  assert.equal(canonicalRange('::/0'), '::/0');
  assert.equal(canonicalRange('::ffff:192.0.2.77/120'), '192.0.2.0/24');
  for (const text of ['192.0.2.1', '192.0.2.0/33', '192.0.2.0/', 'x/8', 'fd00::/129']) {
    assert.equal(canonicalRange(text), undefined, text);
  }
});

test('specialAddress names loopback, link-local, multicast, broadcast and unspecified addresses', () => {
  assert.equal(specialAddress('0.0.0.0'), 'the unspecified address');
  assert.equal(specialAddress('::'), 'the unspecified address');
  assert.equal(specialAddress('127.8.9.10'), 'a loopback address');
  assert.equal(specialAddress('::1'), 'a loopback address');
  assert.equal(specialAddress('169.254.169.254'), 'a link-local address');
  assert.equal(specialAddress('fe80::1'), 'a link-local address');
  assert.equal(specialAddress('224.0.0.1'), 'a multicast address');
  assert.equal(specialAddress('ff02::1'), 'a multicast address');
  assert.equal(specialAddress('255.255.255.255'), 'the broadcast address');
  assert.equal(specialAddress('10.0.0.1'), undefined);
  assert.equal(specialAddress('fd00::1'), undefined);
});

test('takesNodePorts is false for loopback, unspecified and IPv6 link-local addresses', () => {
  const addresses = ['127.0.0.1', '::1', '0.0.0.0', 'fe80::1', '169.254.1.1', '192.0.2.1', 'x'];
  assert.deepEqual(addresses.filter(takesNodePorts), ['169.254.1.1', '192.0.2.1']);
});

test('isLoopback and isUnspecified recognize addresses of both families', () => {
  const all = ['127.0.0.1', '127.255.0.9', '::1', '0.0.0.0', '::', '192.0.2.1', 'fd00::1'];
  assert.deepEqual(all.filter(isLoopback), ['127.0.0.1', '127.255.0.9', '::1']);
  assert.deepEqual(all.filter(isUnspecified), ['0.0.0.0', '::']);
});

test('inRanges never matches a range of the other family', () => {
  assert.equal(inRanges(['::/0'], '192.0.2.1'), false);
  assert.equal(inRanges(['::/0'], 'fd00::1'), true);
  assert.equal(inRanges(['10.0.0.0/8', '192.0.2.0/31'], '192.0.2.1'), true);
  assert.equal(inRanges(['10.0.0.0/8', '192.0.2.0/31'], '192.0.2.2'), false);
});
