import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VirtualTime } from '@heddle/state/testing/virtual-time';
import { MemoryPolicy } from '../../../testing/memory-policy.ts';
import type { Verdict } from './datapath.ts';
import { VerdictFeed, verdictsPerSecond } from './verdict-feed.ts';

const verdict: Verdict = {
  ...{ outcome: 'allowed', direction: undefined, ifindex: 1, protocol: 'TCP' },
  ...{ source: '10.7.0.2', sourcePort: 1, destination: '10.7.0.3', destinationPort: 80 },
  ...{ egressRule: undefined, ingressRule: undefined },
};

test('verdicts beyond a number in a second are counted, and their number is passed on', () => {
  const time = new VirtualTime();
  const datapath = new MemoryPolicy();
  using feed = new VerdictFeed(time, { datapath }, datapath.verdicts, () => undefined);
  let [passed, lost] = [0, 0];
  feed.follow((event) => {
    if ('lost' in (event as object)) lost += (event as { lost: number }).lost;
    else passed++;
    return true;
  });
  const report = (count: number) => {
    for (let i = 0; i < count; i++) datapath.report(verdict);
  };
  report(verdictsPerSecond + 7);
  assert.deepEqual([passed, lost], [verdictsPerSecond, 0]);
  time.pass(1000);
  assert.deepEqual([passed, lost], [verdictsPerSecond, 7]);
  report(3);
  time.pass(1000);
  assert.deepEqual([passed, lost], [verdictsPerSecond + 3, 7]);
});

test('the programs write no verdicts once the last follower has left', () => {
  const datapath = new MemoryPolicy();
  using feed = new VerdictFeed(new VirtualTime(), { datapath }, datapath.verdicts, () => undefined);
  feed.follow(() => false);
  assert.ok(datapath.isWatched);
  datapath.report(verdict);
  assert.equal(datapath.isWatched, false);
});
