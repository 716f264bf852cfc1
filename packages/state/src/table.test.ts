import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Table } from './table.ts';

const row = (key: string, value = 0) => ({ key, value });
type Row = ReturnType<typeof row>;

const write = (table: Table<Row>, ...upserted: Row[]) => table.apply({ upserted, removed: [] });
const remove = (table: Table<Row>, ...removed: string[]) => table.apply({ upserted: [], removed });

test('Table: each write has a revision, and writing the same row again is no write', () => {
  const table = new Table<Row>();
  const a = row('a');
  assert.equal(write(table, a), 1);
  assert.equal(write(table, a), 1);
  assert.equal(write(table, row('a', 1), row('b')), 3);
  assert.equal(remove(table, 'a', 'never there'), 4);
  assert.deepEqual([...table.rows()], [row('b')]);
});

test('Table: a snapshot does not change with later writes', () => {
  const table = new Table<Row>();
  write(table, row('a'), row('b'));
  const snapshot = table.snapshot();
  write(table, row('a', 1));
  remove(table, 'b');
  assert.deepEqual(snapshot, { revision: 2, rows: [row('a'), row('b')] });
});

test('Table: changesSince returns each key once, with its present row', () => {
  const table = new Table<Row>();
  const start = write(table, row('a'), row('b'), row('c'));
  write(table, row('a', 1));
  write(table, row('b', 1));
  write(table, row('a', 2));
  remove(table, 'c');
  assert.deepEqual(table.changesSince(start), {
    revision: 7,
    upserted: [row('b', 1), row('a', 2)],
    removed: ['c'],
    incremental: true,
  });
  assert.deepEqual(table.changesSince(table.revision).upserted, []);
});

test('Table: changesSince returns all rows, marked as such, when the log does not reach back', () => {
  const table = new Table<Row>();
  for (let i = 0; i < 5000; i++) write(table, row('a', i));
  assert.deepEqual(table.changesSince(0), {
    revision: 5000,
    upserted: [row('a', 4999)],
    removed: [],
    incremental: false,
  });
  assert.equal(table.changesSince(4990).incremental, true);
});

test('Table: a reader that applies changesSince at any time ends with the rows of the table', () => {
  const step = fc.oneof(
    fc.record({ write: fc.integer({ min: 0, max: 5 }), value: fc.nat(99) }),
    fc.record({ remove: fc.integer({ min: 0, max: 5 }) }),
    fc.constant('catch up' as const),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const table = new Table<Row>();
      const copy = new Map<string, Row>();
      let seen = 0;
      for (const each of [...steps, 'catch up' as const]) {
        if (each === 'catch up') {
          const changes = table.changesSince(seen);
          for (const key of changes.removed) copy.delete(key);
          for (const changed of changes.upserted) copy.set(changed.key, changed);
          seen = changes.revision;
        } else if ('write' in each) write(table, row(`k${each.write}`, each.value));
        else remove(table, `k${each.remove}`);
      }
      assert.deepEqual(
        [...copy.values()].sort((a, b) => (a.key < b.key ? -1 : 1)),
        [...table.rows()].sort((a, b) => (a.key < b.key ? -1 : 1)),
      );
    }),
    { numRuns: 200 },
  );
});
