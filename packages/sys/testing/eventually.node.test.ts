import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from './eventually.ts';

test('eventually returns the first value other than false, null and undefined', async () => {
  const values = [false, undefined, null, 0, 7];
  assert.equal(await eventually('there is a value', () => values.shift()), 0);
  assert.equal(await eventually('there is a value', async () => values.shift()), 7);
});

test('eventually reports what it waited for and what is known', async () => {
  await assert.rejects(
    eventually('it holds', () => false, { ms: 20 }),
    { message: 'it holds: not within 20 ms' },
  );
  await assert.rejects(
    eventually('it holds', () => null, { ms: 0, detail: () => 'a log' }),
    { message: 'it holds: not within 0 ms\na log' },
  );
});

test('eventually throws errors of the check at once', async () => {
  let calls = 0;
  const check = () => {
    calls++;
    throw new TypeError('broken check');
  };
  await assert.rejects(eventually('it holds', check), TypeError);
  assert.equal(calls, 1);
});
