import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VirtualClock } from './clock.ts';

test('timers of VirtualClock fire when they are due and in order', () => {
  const clock = new VirtualClock(5_000_000n, 1000);
  const fired: string[] = [];
  const at = (name: string) => fired.push(`${name} ${clock.monotonicNs() / 1_000_000n}`);
  clock.setTimer(20, () => at('late'));
  clock.setTimer(10, () => {
    at('first');
    clock.setTimer(5, () => at('between'));
  });
  clock.setTimer(10, () => at('second'));
  const cancelled = clock.setTimer(1, () => at('never'));
  cancelled[Symbol.dispose]();
  clock.advance(9);
  assert.deepEqual(fired, []);
  clock.advance(16);
  assert.deepEqual(fired, ['first 15', 'second 15', 'between 20', 'late 25']);
  assert.equal(clock.monotonicNs(), 30_000_000n);
  assert.equal(clock.wallTimeMs(), 1025);
});
