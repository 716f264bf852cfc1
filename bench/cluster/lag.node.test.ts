import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lags } from './lag.ts';

const ms = 1e6;
const at = (milliseconds: number, endpoints: number) => ({ atNs: milliseconds * ms, endpoints });

test('each change that was seen has its own lag, also when others were passed over', () => {
  const changes = [at(0, 1), at(100, 2), at(200, 3), at(300, 1), at(400, 2)];
  const seen = [at(0, 9), at(5, 1), at(203, 3), at(410, 2)];
  assert.deepEqual(lags(changes, seen), [5, 3, 10]);
});

test('a sighting that no change explains is an error', () => {
  assert.throws(() => lags([at(0, 1)], [at(0, 9), at(5, 4)]), /no change set 4 endpoints/);
});
