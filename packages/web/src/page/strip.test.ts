import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  areaPath,
  barsPath,
  dragRange,
  moveRange,
  timelineSentence,
  windowOfRange,
} from './strip.ts';

const day = { from: 0, to: 86_400_000 };

test('the area rises to its height at the highest rate and is flat where nothing is kept', () => {
  assert.equal(areaPath([null, 5, 10], 40), 'M0 40L0 40.0L1 40.0L1 20.0L2 20.0L2 0.0L3 0.0L3 40Z');
});

test('a bar of any rate can be seen', () => {
  assert.equal(barsPath([0, null, 0.001, 10], 44, 8), 'M2 44v-2.0h1v2.0zM3 44v-8.0h1v8.0z');
});

test('a drag chooses a range of at least a minute within the day', () => {
  const time = fc.integer({ min: -1e7, max: 9e7 });
  fc.assert(
    fc.property(time, time, (one, other) => {
      const { from, to } = dragRange(one, other, day);
      assert.ok(to - from >= 60_000 && to <= day.to, `${from} ${to}`);
    }),
  );
  assert.deepEqual(dragRange(9e6, 5e6, day), { from: 5e6, to: 9e6 });
});

test('a range keeps its length when it is moved, and stays within the day', () => {
  fc.assert(
    fc.property(fc.integer({ min: -9e7, max: 9e7 }), (by) => {
      const { from, to } = moveRange({ from: 3e7, to: 4e7 }, by, day);
      assert.equal(to - from, 1e7);
      assert.ok(from >= day.from && to <= day.to);
    }),
  );
});

test('a range that ends now is live again', () => {
  const live = { kind: 'live', minutes: 5 } as const;
  assert.deepEqual(windowOfRange({ from: 8e7, to: day.to }, day, live), live);
  const range = { from: 1, to: 8e7 };
  assert.deepEqual(windowOfRange(range, day, live), { kind: 'range', ...range });
});

test('the chart has a sentence', () => {
  const timeline = { from: 0, step: 300, forwarded: [10, 20], dropped: [0, 1], refused: [0, 0] };
  assert.equal(
    timelineSentence({ ...timeline, lost: [0, 0] }),
    '24 hours, 15 connections a second on average, drops in 5 minutes of it',
  );
});
