import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VirtualTime } from '@heddle/state/testing/virtual-time';
import { LimitedFeed } from './limited-feed.ts';

/** A feed of numbers, at most five in a second. */
function open() {
  const time = new VirtualTime();
  let watcher: ((notice: number) => void) | undefined;
  const feed = new LimitedFeed<number>({
    ...{ platform: time, perSecond: 5, entryOf: (notice) => ({ notice }) },
    watch: (onNotice) => {
      watcher = onNotice;
      return {
        [Symbol.dispose]: () => {
          watcher = undefined;
        },
      };
    },
  });
  const report = (count: number) => {
    for (let i = 0; i < count; i++) watcher?.(i);
  };
  return { time, feed, report, isWatched: () => watcher !== undefined };
}

test('notices beyond a number in a second are counted, and their number is passed on', () => {
  const { time, feed, report } = open();
  using _ = feed;
  let [passed, lost] = [0, 0];
  feed.follow((event) => {
    if ('lost' in (event as object)) lost += (event as { lost: number }).lost;
    else passed++;
    return true;
  });
  report(12);
  assert.deepEqual([passed, lost], [5, 0]);
  time.pass(1000);
  assert.deepEqual([passed, lost], [5, 7]);
  report(3);
  time.pass(1000);
  assert.deepEqual([passed, lost], [8, 7]);
});

test('nothing is watched before the first follower and after the last one has left', () => {
  const { feed, report, isWatched } = open();
  using _ = feed;
  assert.equal(isWatched(), false);
  feed.follow(() => false);
  assert.ok(isWatched());
  report(1);
  assert.equal(isWatched(), false);
});
