import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ChangeLog, start } from './change-log.ts';

/** A reader that keeps what it has read. */
class Reader {
  readonly known = new Map<string, number>();
  /** The number of times the list began anew. */
  restarts = -1;
  #place = start;
  readonly #log: ChangeLog<number>;

  constructor(log: ChangeLog<number>) {
    this.#log = log;
  }

  /** Reads one answer. Returns true if there is more. */
  read(max: number): boolean {
    const { changes, place, hasMore, isFull } = this.#log.since(this.#place, max);
    assert.ok(changes.length <= max);
    if (isFull) {
      this.restarts++;
      this.known.clear();
    }
    for (const { key, entry } of changes) {
      if (entry === undefined) this.known.delete(key);
      else this.known.set(key, entry);
    }
    this.#place = place;
    return hasMore;
  }

  readAll(max = 3): void {
    // Each answer but the last has a change.
    for (let left = 1000; this.read(max); left--) assert.ok(left > 0, 'reading has no end');
  }
}

test('a reader gets everything first, and then only changes', () => {
  const log = new ChangeLog<number>();
  for (let i = 0; i < 10; i++) log.set(`pod ${i}`, i);
  const { changes, isFull, place } = log.since(start, 100);
  assert.deepEqual([changes.length, isFull], [10, true]);
  log.set('pod 3', 33);
  log.remove('pod 4');
  log.set('pod 3', 34);
  log.remove('pod 5');
  log.set('pod 5', 55);
  const next = log.since(place, 100);
  assert.deepEqual(
    next.changes.map(({ key, entry }) => [key, entry]),
    [
      ['pod 4', undefined],
      ['pod 3', 34],
      ['pod 5', 55],
    ],
  );
  assert.deepEqual([next.isFull, next.hasMore], [false, false]);
  assert.deepEqual(log.since(next.place, 100).changes, []);
});

test('a reader that has missed too many removals reads everything again', () => {
  const log = new ChangeLog<number>(2);
  for (let i = 0; i < 4; i++) log.set(`pod ${i}`, i);
  const reader = new Reader(log);
  reader.readAll();
  for (let round = 0; round < 20; round++) {
    log.set(`new ${round}`, round);
    log.remove(`new ${round}`);
  }
  log.remove('pod 1');
  for (let round = 20; round < 40; round++) {
    log.set(`new ${round}`, round);
    log.remove(`new ${round}`);
  }
  reader.readAll();
  assert.equal(reader.restarts, 1);
  assert.deepEqual([...reader.known.keys()], ['pod 0', 'pod 2', 'pod 3']);
});

test('removals that were forgotten before a full list do not begin it again', () => {
  const log = new ChangeLog<number>(1);
  for (let i = 0; i < 10; i++) log.set(`pod ${i}`, i);
  for (let i = 0; i < 50; i++) {
    log.set('short', i);
    log.remove('short');
  }
  const reader = new Reader(log);
  reader.readAll(2);
  assert.deepEqual([reader.restarts, reader.known.size], [0, 10]);
});

test('a revision that the log does not have reads everything', () => {
  const log = new ChangeLog<number>();
  log.set('pod', 1);
  assert.equal(log.since({ revision: 99, known: 99 }, 10).isFull, true);
});

test('a reader has the same entries as the log, whatever changes between its answers', () => {
  const step = fc.oneof(
    fc.record({ op: fc.constant('set' as const), key: fc.nat(12) }),
    fc.record({ op: fc.constant('remove' as const), key: fc.nat(12) }),
    fc.record({ op: fc.constant('read' as const), key: fc.nat(4) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.nat(5), (steps, removals) => {
      const log = new ChangeLog<number>(removals);
      const model = new Map<string, number>();
      const reader = new Reader(log);
      for (const [i, { op, key }] of steps.entries()) {
        if (op === 'set') {
          log.set(`${key}`, i);
          model.set(`${key}`, i);
        } else if (op === 'remove') {
          log.remove(`${key}`);
          model.delete(`${key}`);
        } else {
          reader.read(key + 1);
        }
      }
      reader.readAll();
      assert.deepEqual([...reader.known].sort(), [...model].sort());
      assert.equal(log.size, model.size);
    }),
  );
});
