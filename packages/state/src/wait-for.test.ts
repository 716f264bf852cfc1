import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type FakeRow, FakeTarget } from '../testing/fake-target.ts';
import { VirtualTime } from '../testing/virtual-time.ts';
import { Reconciler, type RowNotProgrammed } from './reconciler.ts';
import { Table, type TableChanges } from './table.ts';

type Outcome = 'programmed' | RowNotProgrammed['reason'];

/** A table that records the revision up to which it was read. */
class ReadTable extends Table<FakeRow> {
  seen = 0;

  override changesSince(revision: number): TableChanges<FakeRow> {
    const changes = super.changesSince(revision);
    this.seen = changes.revision;
    return changes;
  }
}

/** A reconciler, and calls of `waitFor` with their outcomes. */
function setUp(batchSize = 4096) {
  const time = new VirtualTime();
  const table = new ReadTable();
  const target = new FakeTarget();
  const reconciler = new Reconciler(table, target, time, { batchSize });
  return {
    ...{ time, table, target, reconciler },
    write: (key: string, value = 0) => table.apply({ upserted: [{ key, value }], removed: [] }),
    remove: (key: string) => table.apply({ upserted: [], removed: [key] }),
    wait(key: string, revision: number, timeoutMs = 1000) {
      const wait = { key, revision, dueMs: time.wallTimeMs() + timeoutMs };
      const waiting: typeof wait & { outcome?: Outcome } = wait;
      const settle = (outcome: Outcome) => {
        waiting.outcome = outcome;
      };
      reconciler.waitFor(key, revision, timeoutMs).then(
        () => settle('programmed'),
        (error: RowNotProgrammed) => settle(error.reason),
      );
      return waiting;
    },
  };
}

type World = ReturnType<typeof setUp>;
type Waiting = ReturnType<World['wait']>;

/** Lets the callbacks of settled promises run. */
async function turn(): Promise<void> {
  for (let i = 0; i < 3; i++) await Promise.resolve();
}

/** Returns the outcome that a wait must have by now, its deadline aside. */
function expected({ table, reconciler }: World, { key, revision }: Waiting): Outcome | undefined {
  if (table.seen < revision) return undefined;
  if (!table.get(key)) return 'removed';
  const state = reconciler.status(key)?.state;
  return state === 'done' ? 'programmed' : state === 'failed' ? 'failed' : undefined;
}

/** Checks the waits that are not settled before. Returns those that are not settled now. */
function check(world: World, waits: readonly Waiting[]): Waiting[] {
  const { time, target, table } = world;
  return waits.filter((wait) => {
    const { key, outcome, dueMs } = wait;
    const isDue = time.wallTimeMs() >= dueMs;
    // A removal that the reconciler has not read yet settles nothing.
    const isRead = table.seen === table.revision;
    if (outcome === undefined ? isRead : outcome !== 'deadline') {
      assert.equal(outcome, expected(world, wait));
    }
    if (outcome === undefined || outcome === 'deadline')
      assert.equal(isDue, outcome === 'deadline');
    if (outcome === 'programmed' && isRead) {
      assert.equal(target.held.get(key), table.get(key)!.value);
    }
    return outcome === undefined;
  });
}

describe('Reconciler.waitFor', () => {
  it('resolves when the row is programmed, at once if it is already', async () => {
    const { write, wait, reconciler, time } = setUp();
    const revision = write('a');
    const early = wait('a', revision);
    await turn();
    assert.equal(early.outcome, undefined);
    reconciler.sync();
    const late = wait('a', revision);
    await turn();
    assert.deepEqual([early.outcome, late.outcome], ['programmed', 'programmed']);
    assert.equal(time.timersLeft, 0);
  });

  it('waits for the new content of a row that is programmed with its old one', async () => {
    const { write, wait, reconciler, target } = setUp();
    write('a', 1);
    reconciler.sync();
    const waiting = wait('a', write('a', 2));
    await turn();
    assert.equal(waiting.outcome, undefined);
    reconciler.sync();
    await turn();
    assert.equal(waiting.outcome, 'programmed');
    assert.equal(target.held.get('a'), 2);
  });

  it("rejects with the row's error, after which the retry can be awaited", async () => {
    const { write, reconciler, target, time } = setUp();
    target.stubborn.add('a');
    const revision = write('a');
    reconciler.sync();
    await assert.rejects(reconciler.waitFor('a', revision, 1000), {
      name: 'RowNotProgrammed',
      message: 'program a: update a: stubborn',
      reason: 'failed',
      key: 'a',
    });
    target.stubborn.clear();
    time.pass(100);
    await reconciler.waitFor('a', revision, 1000);
  });

  it('rejects when the row is removed, at the deadline, and on dispose', async () => {
    const { write, remove, wait, reconciler, time } = setUp();
    const removed = wait('a', write('a'));
    remove('a');
    reconciler.sync();
    const late = wait('b', write('b'), 50);
    time.pass(50);
    const left = wait('b', write('b', 1));
    reconciler[Symbol.dispose]();
    const after = wait('b', 1);
    await turn();
    assert.deepEqual(
      [removed, late, left, after].map(({ outcome }) => outcome),
      ['removed', 'deadline', 'disposed', 'disposed'],
    );
    assert.equal(time.timersLeft, 0);
  });

  it('settles exactly when the row is programmed, fails, is removed, or its time is over', async () => {
    const key = fc.constantFrom('a', 'b', 'c');
    const timeoutMs = fc.integer({ min: 1, max: 400 });
    const step = fc.oneof(
      fc.record({ op: fc.constant('write' as const), key, value: fc.nat(99) }),
      fc.record({ op: fc.constant('remove' as const), key }),
      fc.record({ op: fc.constant('sync' as const) }),
      fc.record({ op: fc.constant('wait' as const), key, timeoutMs }),
      fc.record({ op: fc.constant('pass' as const), ms: fc.nat(200) }),
      fc.record({ op: fc.constant('stubborn' as const), key, on: fc.boolean() }),
    );
    const steps = fc.array(step, { minLength: 20, maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(steps, fc.integer({ min: 1, max: 3 }), async (each, batchSize) => {
        const world = setUp(batchSize);
        const { time, table, target, reconciler } = world;
        let waits: Waiting[] = [];
        for (const now of each) {
          if (now.op === 'write') world.write(now.key, now.value);
          else if (now.op === 'remove') world.remove(now.key);
          else if (now.op === 'stubborn') target.stubborn[now.on ? 'add' : 'delete'](now.key);
          else if (now.op === 'sync') reconciler.sync();
          else if (now.op === 'pass') time.pass(now.ms);
          else waits.push(world.wait(now.key, table.revision, now.timeoutMs));
          await turn();
          waits = check(world, waits);
        }
        reconciler[Symbol.dispose]();
        await turn();
        assert.ok(waits.every(({ outcome }) => outcome === 'disposed'));
        assert.equal(time.timersLeft, 0);
      }),
      { numRuns: 500 },
    );
  });
});
