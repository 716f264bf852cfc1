import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EntryTable } from './entry-table.ts';

test('an EntryTable has the same entries as a Map after any sets and deletes', () => {
  const change = fc.record({
    key: fc.integer({ min: 0, max: 60 }),
    value: fc.option(fc.nat(1000), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 400 }), fc.nat(), (changes, seed) => {
      const table = new EntryTable(2, 3, seed);
      const model = new Map<number, number>();
      for (const { key, value } of changes) {
        const words = Uint32Array.of(9, key, key * 7);
        if (value === undefined) {
          model.delete(key);
          table.delete(words, 1);
        } else {
          model.set(key, value);
          table.set(words, 1, Uint32Array.of(value, 0, value + 1), 0);
        }
      }
      const found = Array.from(table.entries(), ([key, value]) => [key[0]!, [...value]] as const);
      assert.deepEqual(
        found.sort((a, b) => a[0] - b[0]),
        [...model]
          .sort((a, b) => a[0] - b[0])
          .map(([key, value]) => [key, [value, 0, value + 1]] as const),
      );
      assert.equal(table.size, model.size);
      for (let key = 0; key <= 60; key++) {
        const place = table.find(Uint32Array.of(key, key * 7), 0);
        assert.equal(place >= 0, model.has(key));
        if (place < 0) continue;
        const value = model.get(key)!;
        assert.equal(table.holds(place, Uint32Array.of(value, 0, value + 1), 0), true);
        assert.equal(table.holds(place, Uint32Array.of(value, 5, value + 1), 0), false);
        assert.equal(table.holds(place, Uint32Array.of(value, 5, value + 1), 0, 1), true);
      }
    }),
    { numRuns: 200 },
  );
});
