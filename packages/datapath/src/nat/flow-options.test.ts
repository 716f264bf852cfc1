import assert from 'node:assert/strict';
import { test } from 'node:test';
import { portStride } from './flow-options.ts';

test('portStride visits every port of a range before one is repeated', () => {
  for (const count of [1, 2, 3, 4, 6, 12, 30, 997, 1024, 28_976, 64_512]) {
    const stride = portStride(count);
    const met = new Set(Array.from({ length: count }, (_, n) => (n * stride) % count));
    assert.equal(met.size, count, `${count} ports by ${stride}`);
    // The programs count in 32 bits.
    assert.ok((count - 1) * stride < 2 ** 32);
  }
});
