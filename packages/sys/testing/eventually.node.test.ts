import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from './eventually.ts';

test('eventually returns the first value other than false and undefined', async () => {
  const values = [false, undefined, 0, 7];
  assert.equal(await eventually('there is a value', () => values.shift()), 0);
  assert.equal(await eventually('there is a value', async () => values.shift()), 7);
});

test('eventually repeats a check whose assertion fails', async () => {
  let calls = 0;
  await eventually('three calls were made', () => {
    assert.equal(++calls, 3);
    return true;
  });
  assert.equal(calls, 3);
});

test('eventually reports what it waited for and the last assertion', async () => {
  await assert.rejects(
    eventually('two is one', () => assert.equal(2, 1, 'two is not one'), { ms: 20 }),
    { message: 'two is one: not within 20 ms: two is not one' },
  );
  await assert.rejects(
    eventually('it holds', () => false, { ms: 0 }),
    {
      message: 'it holds: not within 0 ms',
    },
  );
});

test('eventually throws other errors of the check at once', async () => {
  let calls = 0;
  const check = () => {
    calls++;
    throw new TypeError('broken check');
  };
  await assert.rejects(eventually('it holds', check), TypeError);
  assert.equal(calls, 1);
});
