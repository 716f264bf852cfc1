import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NodePath, RemoteNode } from '@heddle/routes';
import { formatIp } from '@heddle/sys';
import { FakeMap } from '../../testing/fake-store.ts';
import { rangeKeyCodec, rangeKeySize, remoteNodeCodec, remoteNodeSize } from '../generated/abi.ts';
import { NodeRanges } from './node-ranges.ts';

const map = () => new FakeMap('node_ranges', 4, rangeKeySize, remoteNodeSize);
const path = (family: NodePath['family'], mode: NodePath['mode'], via: string): NodePath => ({
  ...{ family, mode, via, reason: 'the test wants it' },
});
const node = (key: string, ranges: readonly string[], paths: readonly NodePath[]): RemoteNode => ({
  ...{ key, ranges, paths, problems: [], addresses: ['192.0.2.2', 'fd00::2'] },
});
const v4 = path('IPv4', 'direct', '192.0.2.2');
const v6 = path('IPv6', 'tunnel', '192.0.2.2');

/** Returns the entries as `ADDRESS/LENGTH PATH IPV4 IPV6`. */
function entries(of: FakeMap): string[] {
  return [...of.entries()]
    .map(([key, value]) => {
      const { address, prefixLength } = rangeKeyCodec.decode(key);
      const { path: number, ipv4, ipv6 } = remoteNodeCodec.decode(value);
      return `${formatIp(address)}/${prefixLength} ${number} ${ipv4.toString(16)} ${formatIp(ipv6)}`;
    })
    .sort();
}

test('a node has an entry for each range, with its addresses and the path of the family', () => {
  const content = map();
  new NodeRanges(content).set(node('n2', ['10.7.2.0/24', 'fd00:7:2::/64'], [v4, v6]));
  assert.deepEqual(entries(content), [
    '10.7.2.0/120 1 c0000202 fd00::2',
    'fd00:7:2::/64 2 c0000202 fd00::2',
  ]);
});

test('a range without a path has no entry, and one that a node loses goes', () => {
  const content = map();
  const ranges = new NodeRanges(content);
  ranges.set(node('n2', ['10.7.2.0/24', 'fd00:7:2::/64'], [v4, v6]));
  ranges.set(node('n2', ['10.7.3.0/24', 'fd00:7:2::/64'], [v4]));
  assert.deepEqual(entries(content), ['10.7.3.0/120 1 c0000202 fd00::2']);
  ranges.remove('n2');
  ranges.remove('n2');
  assert.deepEqual(entries(content), []);
});

test('a node that takes over a range keeps it when the node before is removed', () => {
  const content = map();
  const ranges = new NodeRanges(content);
  ranges.set(node('n2', ['10.7.2.0/24'], [v4]));
  ranges.set(node('n3', ['10.7.2.0/24'], [path('IPv4', 'tunnel', 'fd00::2')]));
  ranges.remove('n2');
  assert.deepEqual(entries(content), ['10.7.2.0/120 3 c0000202 fd00::2']);
});

test('pruning removes what an earlier agent has left; what is the same is not written again', () => {
  const content = map();
  const row = node('n2', ['10.7.2.0/24'], [v4]);
  new NodeRanges(content).set(row);
  new NodeRanges(content).set(node('gone', ['10.7.9.0/24'], [v4]));
  const writes = content.writes;
  const ranges = new NodeRanges(content);
  ranges.set(row);
  assert.equal(content.writes, writes);
  assert.equal(ranges.size, 2);
  ranges.prune();
  assert.deepEqual(entries(content), ['10.7.2.0/120 1 c0000202 fd00::2']);
});
