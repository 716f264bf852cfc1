import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backoffMs } from './backoff.ts';

test('backoffMs doubles from 100 ms to 30 s', () => {
  const waits = [1, 2, 3, 4, 9, 10, 100].map((attempt) => backoffMs(attempt, 0));
  assert.deepEqual(waits, [100, 200, 400, 800, 25_600, 30_000, 30_000]);
});

test('backoffMs subtracts at most a half at random', () => {
  assert.equal(backoffMs(1, 0.5), 75);
  assert.equal(backoffMs(10, 0.999), 15_015);
});
