import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type FakeRow, FakeTarget } from '../testing/fake-target.ts';
import { VirtualTime } from '../testing/virtual-time.ts';
import { Reconciler, type ReconcilerOptions } from './reconciler.ts';
import { Table } from './table.ts';

function setUp(options: ReconcilerOptions = {}) {
  const time = new VirtualTime();
  const table = new Table<FakeRow>();
  const target = new FakeTarget();
  const reconciler = new Reconciler(table, target, time, options);
  return {
    time,
    table,
    target,
    reconciler,
    write(...keys: string[]) {
      table.apply({ upserted: keys.map((key) => ({ key, value: 0 })), removed: [] });
      reconciler.sync();
    },
    remove(...keys: string[]) {
      table.apply({ upserted: [], removed: keys });
      reconciler.sync();
    },
    state: (key: string) => reconciler.status(key)?.state,
  };
}

test('Reconciler: a row is programmed by sync, and its status has the time', () => {
  const { write, remove, target, reconciler, time, state } = setUp();
  write('a', 'b');
  assert.deepEqual(target.takeCalls(), ['update a b']);
  assert.deepEqual(reconciler.status('a'), { state: 'done', since: time.wallTimeMs() });
  assert.deepEqual(reconciler.counts(), { pending: 0, done: 2, failed: 0 });

  remove('a');
  assert.deepEqual(target.takeCalls(), ['remove a']);
  assert.equal(state('a'), undefined);
  assert.equal(time.timersLeft, 0);
});

test('Reconciler: several changes of a row before its turn are one update', () => {
  const { table, reconciler, target } = setUp();
  for (const value of [1, 2, 3]) table.apply({ upserted: [{ key: 'a', value }], removed: [] });
  table.apply({ upserted: [{ key: 'b', value: 0 }], removed: [] });
  table.apply({ upserted: [], removed: ['b'] });
  reconciler.sync();
  assert.deepEqual(target.takeCalls(), ['update a']);
  assert.equal(target.held.get('a'), 3);
});

test('Reconciler: a failed row has a reason, stops no other row, and is retried at growing intervals', () => {
  const { write, target, time, reconciler, state } = setUp();
  target.stubborn.add('b');
  const start = time.wallTimeMs();
  write('a', 'b', 'c');
  assert.equal(state('a'), 'done');
  assert.equal(state('c'), 'done');
  assert.deepEqual(reconciler.status('b'), {
    state: 'failed',
    reason: 'update b: stubborn',
    since: start,
  });
  target.takeCalls();

  const tries: number[] = [];
  for (let passed = 0; passed < 70_000; passed += 50) {
    time.pass(50);
    for (const call of target.takeCalls()) {
      assert.equal(call, 'update b');
      tries.push(passed + 50);
    }
  }
  assert.deepEqual(tries, [100, 300, 700, 1500, 3100, 6300, 12_700, 25_500, 51_100]);
  assert.equal(reconciler.status('b')?.since, start);

  target.stubborn.clear();
  time.pass(30_000);
  assert.equal(state('b'), 'done');
  assert.equal(time.timersLeft, 0);
});

test('Reconciler: a changed row is tried at once, although its old content waits for a retry', () => {
  const { table, write, target, time, reconciler, state } = setUp();
  target.stubborn.add('a');
  write('a');
  time.pass(20_000);
  target.stubborn.clear();
  table.apply({ upserted: [{ key: 'a', value: 7 }], removed: [] });
  reconciler.sync();
  assert.equal(state('a'), 'done');
  assert.equal(target.held.get('a'), 7);
});

test('Reconciler: when the map is full, the removal of a row programs a waiting one at once', () => {
  const { write, remove, target, reconciler, state } = setUp();
  target.room = 2;
  write('a', 'b', 'c');
  assert.match(reconciler.status('c')?.reason ?? '', /map things: full \(2 entries\)/);
  target.takeCalls();
  remove('a');
  assert.deepEqual(target.takeCalls(), ['remove a', 'update c']);
  assert.equal(state('c'), 'done');
});

test('Reconciler: all waiting rows are programmed, batch after batch, once there is room', () => {
  const { write, remove, target, time, reconciler } = setUp({ batchSize: 2 });
  target.room = 1;
  write('a');
  write('b', 'c', 'd', 'e', 'f');
  time.pass(0);
  time.pass(0);
  assert.equal(reconciler.counts().failed, 5);
  target.room = 10;
  remove('a');
  time.pass(0);
  time.pass(0);
  assert.deepEqual(reconciler.counts(), { pending: 0, done: 5, failed: 0 });
});

test('Reconciler: a removal that fails is retried', () => {
  const { write, remove, target, time, state } = setUp();
  write('a');
  target.stubborn.add('a');
  remove('a');
  assert.equal(state('a'), 'failed');
  target.stubborn.clear();
  time.pass(100);
  assert.equal(state('a'), undefined);
  assert.equal(target.held.size, 0);
});

test('Reconciler: a large change is split into batches, one for each turn of the event loop', () => {
  const { write, target, time, reconciler } = setUp({ batchSize: 2 });
  write('a', 'b', 'c', 'd', 'e');
  assert.deepEqual(target.takeCalls(), ['update a b']);
  assert.deepEqual(reconciler.counts(), { pending: 3, done: 2, failed: 0 });
  time.pass(0);
  assert.deepEqual(target.takeCalls(), ['update c d', 'update e']);
});

test('Reconciler: all updates precede all removals', () => {
  const { table, write, target, time, reconciler } = setUp({ batchSize: 1 });
  write('a');
  write('b');
  target.takeCalls();
  const upserted = ['c', 'd'].map((key) => ({ key, value: 0 }));
  table.apply({ upserted, removed: ['a', 'b'] });
  reconciler.sync();
  time.pass(0);
  time.pass(0);
  assert.deepEqual(target.takeCalls(), ['update c', 'update d', 'remove a', 'remove b']);
});

test('Reconciler: a row that replaces another one in a full map is programmed after the removal', () => {
  const { table, write, target, reconciler, state } = setUp();
  target.room = 1;
  write('a');
  target.takeCalls();
  table.apply({ upserted: [{ key: 'b', value: 0 }], removed: ['a'] });
  reconciler.sync();
  assert.deepEqual(target.takeCalls(), ['update b', 'remove a', 'update b']);
  assert.equal(state('b'), 'done');
});

test('Reconciler: an operation that throws fails each of its rows', () => {
  const { write, target, time, reconciler } = setUp();
  target.broken = true;
  write('a', 'b');
  assert.equal(reconciler.counts().failed, 2);
  assert.equal(reconciler.status('b')?.reason, 'reach target: it is broken');
  target.broken = false;
  time.pass(100);
  assert.equal(reconciler.counts().done, 2);
});

test('Reconciler: entries of an earlier agent are pruned only once the source is complete', () => {
  const { write, target, time, reconciler } = setUp();
  target.held.set('from before, still wanted', 1);
  target.held.set('from before, not wanted', 1);
  write('from before, still wanted');
  time.pass(60_000);
  assert.equal(target.held.size, 2);
  assert.equal(reconciler.pruned, false);

  reconciler.setComplete();
  assert.deepEqual([...target.held.keys()], ['from before, still wanted']);
  assert.equal(reconciler.pruned, true);
});

test('Reconciler: pruning follows the first attempt of every row, and makes room for failed ones', () => {
  const { table, target, time, reconciler } = setUp({ batchSize: 1 });
  target.held.set('old', 1);
  target.room = 2;
  const rows = ['a', 'b'].map((key) => ({ key, value: 0 }));
  table.apply({ upserted: rows, removed: [] });
  reconciler.setComplete();
  assert.deepEqual(target.takeCalls(), ['update a']);
  time.pass(0);
  assert.deepEqual(target.takeCalls(), ['update b', 'prune', 'update b']);
  assert.deepEqual([...target.held.keys()].sort(), ['a', 'b']);
});

test('Reconciler: pruning that fails has a reason and is retried', () => {
  const { target, time, reconciler } = setUp();
  target.held.set('old', 1);
  target.broken = true;
  reconciler.setComplete();
  assert.equal(reconciler.pruneProblem, 'reach target: it is broken');
  target.broken = false;
  time.pass(100);
  assert.equal(reconciler.pruneProblem, undefined);
  assert.equal(target.held.size, 0);
});

test('Reconciler: after dispose nothing is tried', () => {
  const { write, target, time, reconciler } = setUp();
  target.stubborn.add('a');
  write('a');
  reconciler[Symbol.dispose]();
  assert.equal(time.timersLeft, 0);
  target.takeCalls();
  write('b');
  assert.deepEqual(target.takeCalls(), []);
});

test('Reconciler: after any sequence of steps the target holds what the table holds', () => {
  const key = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f');
  const step = fc.oneof(
    fc.record({ op: fc.constant('write' as const), key, value: fc.nat(9) }),
    fc.record({ op: fc.constant('remove' as const), key }),
    fc.record({ op: fc.constant('stubborn' as const), key }),
    fc.record({ op: fc.constant('room' as const), room: fc.nat(6) }),
    fc.record({ op: fc.constant('broken' as const), broken: fc.boolean() }),
    fc.record({ op: fc.constant('pass' as const), ms: fc.nat(5000) }),
    fc.record({ op: fc.constant('sync' as const) }),
    fc.record({ op: fc.constant('complete' as const) }),
  );
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 80 }),
      fc.integer({ min: 1, max: 4 }),
      (steps, size) => {
        const seen = new Map<string, string>();
        const { table, target, time, reconciler } = setUp({
          batchSize: size,
          onStatus: (changed, status) => {
            if (status) seen.set(changed, status.state);
            else seen.delete(changed);
          },
        });
        target.held.set('left by an earlier agent', 1);
        for (const each of steps) {
          if (each.op === 'write') {
            table.apply({ upserted: [{ key: each.key, value: each.value }], removed: [] });
          } else if (each.op === 'remove') table.apply({ upserted: [], removed: [each.key] });
          else if (each.op === 'stubborn') target.stubborn.add(each.key);
          else if (each.op === 'room') target.room = each.room;
          else if (each.op === 'broken') target.broken = each.broken;
          else if (each.op === 'pass') time.pass(each.ms);
          else if (each.op === 'sync') reconciler.sync();
          else reconciler.setComplete();
        }
        target.stubborn.clear();
        target.broken = false;
        target.room = 100;
        reconciler.sync();
        reconciler.setComplete();
        time.pass(120_000);
        const wanted = [...table.rows()].map((row) => [row.key, row.value] as const).sort();
        assert.deepEqual([...target.held].sort(), wanted);
        assert.deepEqual(reconciler.counts(), { pending: 0, done: table.size, failed: 0 });
        assert.deepEqual(
          [...seen.keys()].sort(),
          wanted.map(([name]) => name),
        );
        assert.equal(time.timersLeft, 0);
      },
    ),
    { numRuns: 300 },
  );
});
