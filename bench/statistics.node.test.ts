import assert from 'node:assert/strict';
import { test } from 'node:test';
import { median, quantile, spread } from './statistics.ts';

test('the median lies in the middle, between two values if need be', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.equal(median([7]), 7);
});

test('quantiles go from the least to the greatest value', () => {
  const values = [50, 10, 40, 20, 30];
  assert.equal(quantile(values, 0), 10);
  assert.equal(quantile(values, 0.25), 20);
  assert.equal(quantile(values, 1), 50);
  assert.deepEqual(values, [50, 10, 40, 20, 30], 'the values stay in their order');
});

test('the spread is the width of the middle half', () => {
  assert.equal(spread([1, 2, 3, 4, 5]), 2);
  assert.equal(spread([1, 1, 1]), 0);
});
