import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { age, formatFacts, formatTable, stateCell } from './print.ts';

describe('tables', () => {
  it('tables have columns as wide as their widest cell and no trailing spaces', () => {
    assert.equal(
      formatTable(
        ['NAME', 'N', 'STATUS'],
        [
          ['a', '10', stateCell('done', undefined)],
          ['longer', '2', stateCell('failed', 'map full')],
          ['b', '', ''],
        ],
      ),
      'NAME    N   STATUS\na       10  done\nlonger  2   failed: map full\nb\n',
    );
  });

  it('facts are printed with aligned values', () => {
    assert.equal(
      formatFacts([
        ['a', '1'],
        ['long', '2'],
      ]),
      'a     1\nlong  2\n',
    );
  });
});

describe('age', () => {
  const now = Date.parse('2026-01-02T00:00:00Z');
  for (const [since, expected] of [
    ['2026-01-02T00:00:00Z', '0s'],
    ['2026-01-01T23:59:55Z', '5s'],
    ['2026-01-01T23:56:48Z', '3m12s'],
    ['2026-01-01T23:45:10Z', '14m'],
    ['2026-01-01T22:00:00Z', '2h'],
    ['2025-12-20T00:00:00Z', '13d'],
    ['2025-12-31T21:00:00Z', '1d3h'],
    ['2026-01-03T00:00:00Z', '0s'],
    ['1970-01-01T00:00:00.000Z', '-'],
    ['never', '-'],
  ] as const) {
    it(`the age of ${since} is ${expected}`, () => assert.equal(age(since, now), expected));
  }
});
