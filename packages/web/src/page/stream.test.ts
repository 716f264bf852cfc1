import assert from 'node:assert/strict';
import { test } from 'node:test';
import { retryDelay } from './stream.ts';

test('the page tries again after 1, 2, 4 seconds and then every 8', () => {
  assert.deepEqual([0, 1, 2, 3, 4, 50].map(retryDelay), [1000, 2000, 4000, 8000, 8000, 8000]);
});
