import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type MaglevBackend, maglevSize, maglevTable } from './maglev.ts';

const backends = (count: number): MaglevBackend[] =>
  Array.from({ length: count }, (_, i) => ({ name: `10.244.1.${i}:8080`, weight: 1 }));

const shares = (table: Uint32Array, count: number) => {
  const out = new Array<number>(count).fill(0);
  for (const index of table) out[index]!++;
  return out;
};

test('every backend has its share of a Maglev table within one entry', () => {
  const table = maglevTable(backends(10), 1021);
  for (const share of shares(table, 10)) assert.ok(share === 102 || share === 103, `${share}`);
});

test('shares of a Maglev table follow the weights', () => {
  const weighted = backends(3).map((backend, i) => ({ ...backend, weight: [1, 2, 5][i]! }));
  const [one, two, five] = shares(maglevTable(weighted, 4093), 3);
  assert.ok(Math.abs(one! - 4093 / 8) <= 2);
  assert.ok(Math.abs(two! - (4093 * 2) / 8) <= 2);
  assert.ok(Math.abs(five! - (4093 * 5) / 8) <= 2);
});

test('removing one of ten backends moves few entries of the others', () => {
  const before = maglevTable(backends(10), 4093);
  const after = maglevTable(backends(10).slice(0, 9), 4093);
  let moved = 0;
  for (let i = 0; i < 4093; i++) if (before[i] !== 9 && before[i] !== after[i]) moved++;
  assert.ok(moved / 4093 < 0.04, `${moved} of 4093 moved without need`);
});

test('a Maglev table does not depend on the order of the backends', () => {
  fc.assert(
    fc.property(fc.shuffledSubarray(backends(7), { minLength: 1 }), (list) => {
      const sorted = [...list].sort((a, b) => (a.name < b.name ? -1 : 1));
      const names = (of: MaglevBackend[]) => [...maglevTable(of, 251)].map((i) => of[i]!.name);
      assert.deepEqual(names(list), names(sorted));
    }),
    { numRuns: 50 },
  );
});

test('a Maglev table without backends is empty, and sizes grow with the backends', () => {
  assert.equal(maglevTable([], 251).length, 0);
  assert.equal(maglevSize(2), 251);
  assert.equal(maglevSize(10), 1021);
  assert.equal(maglevSize(5000), 131071);
});
