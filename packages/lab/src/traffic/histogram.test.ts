import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Histogram } from './histogram.ts';

test('quantiles are exact to 0.4 %', () => {
  const duration = fc.integer({ min: 1, max: 10_000_000_000 });
  fc.assert(
    fc.property(
      fc.array(duration, { minLength: 1, maxLength: 200 }),
      fc.constantFrom(0, 0.5, 0.9, 0.99, 1),
      (durations, quantile) => {
        const histogram = new Histogram();
        for (const each of durations) histogram.add(each);
        const sorted = durations.toSorted((a, b) => a - b);
        const exact = sorted[Math.max(1, Math.ceil(sorted.length * quantile)) - 1]!;
        const found = histogram.quantile(quantile)!;
        assert.ok(Math.abs(found / exact - 1) <= 0.004, `${found} for ${exact}`);
      },
    ),
    { numRuns: 50 },
  );
});

test('an empty histogram has no quantile, also after clear', () => {
  const histogram = new Histogram();
  assert.equal(histogram.quantile(0.5), undefined);
  histogram.add(1000);
  const sum = new Histogram();
  sum.merge(histogram);
  sum.merge(histogram);
  assert.equal(sum.count, 2);
  sum.clear();
  assert.equal(sum.count, 0);
  assert.equal(sum.quantile(0.5), undefined);
});

test('a duration beyond the range counts as the end of the range', () => {
  const histogram = new Histogram();
  for (const each of [0, 0.5, 2 ** 60]) histogram.add(each);
  assert.equal(histogram.count, 3);
  assert.ok(histogram.quantile(1)! > 2 ** 39);
});
