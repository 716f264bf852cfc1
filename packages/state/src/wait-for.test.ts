import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type FakeRow, FakeTarget } from '../testing/fake-target.ts';
import { VirtualTime } from '../testing/virtual-time.ts';
import { Reconciler, type ReconcilerPort, type RowNotProgrammed } from './reconciler.ts';
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

/** A call of `waitFor`. */
interface Waiting {
  readonly key: string;
  readonly revision: number;
  readonly dueMs: number;
  outcome?: Outcome;
  /** The outcome that the call must have, its deadline aside, and the time since when. */
  expected?: { readonly outcome: Outcome; readonly sinceMs: number };
}

/** Returns a reconciler, and calls of `waitFor` with their outcomes. */
function setUp(batchSize = 4096) {
  const time = new VirtualTime();
  const table = new ReadTable();
  const target = new FakeTarget();
  const waits: Waiting[] = [];
  const port: ReconcilerPort = {
    wallTimeMs: () => time.wallTimeMs(),
    monotonicNs: () => time.monotonicNs(),
    randomBytes: (length) => time.randomBytes(length),
    setTimer: (milliseconds, fire) =>
      time.setTimer(milliseconds, () => {
        fire();
        expectOutcomes();
      }),
  };
  const reconciler = new Reconciler(table, target, port, { batchSize });

  /** Notes the outcome of each call whose row has a state since now. */
  function expectOutcomes(): void {
    if (table.seen !== table.revision) return;
    for (const wait of waits) {
      const outcome = outcomeOf(wait);
      if (outcome !== undefined) wait.expected ??= { outcome, sinceMs: time.wallTimeMs() };
    }
  }

  function outcomeOf({ key, revision }: Waiting): Outcome | undefined {
    if (table.seen < revision) return undefined;
    if (!table.get(key)) return 'removed';
    const state = reconciler.status(key)?.state;
    return state === 'done' ? 'programmed' : state === 'failed' ? 'failed' : undefined;
  }

  return {
    ...{ time, table, target, reconciler, waits },
    write: (key: string, value = 0) => table.apply({ upserted: [{ key, value }], removed: [] }),
    remove: (key: string) => table.apply({ upserted: [], removed: [key] }),
    sync() {
      reconciler.sync();
      expectOutcomes();
    },
    wait(key: string, revision: number, timeoutMs = 1000): Waiting {
      const wait: Waiting = { key, revision, dueMs: time.wallTimeMs() + timeoutMs };
      waits.push(wait);
      reconciler.waitFor(key, revision, timeoutMs).then(
        () => {
          wait.outcome = 'programmed';
        },
        (error: RowNotProgrammed) => {
          wait.outcome = error.reason;
        },
      );
      expectOutcomes();
      return wait;
    },
  };
}

/** Lets the callbacks of settled promises run. */
async function turn(): Promise<void> {
  for (let i = 0; i < 3; i++) await Promise.resolve();
}

/** Checks that each call is settled as expected, and only then. */
function check({ outcome, expected, dueMs }: Waiting, nowMs: number): void {
  if (outcome === undefined) {
    assert.equal(expected, undefined);
    assert.ok(nowMs < dueMs);
  } else if (outcome === 'deadline') {
    assert.ok(nowMs >= dueMs);
    // The timers of the deadline and of a retry may be due at the same time.
    assert.ok(expected === undefined || expected.sinceMs >= dueMs);
  } else {
    assert.equal(outcome, expected?.outcome);
    assert.ok(expected!.sinceMs <= dueMs);
  }
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
        const { time, table, target, reconciler, waits } = world;
        for (const now of each) {
          if (now.op === 'write') world.write(now.key, now.value);
          else if (now.op === 'remove') world.remove(now.key);
          else if (now.op === 'stubborn') target.stubborn[now.on ? 'add' : 'delete'](now.key);
          else if (now.op === 'sync') world.sync();
          else if (now.op === 'pass') time.pass(now.ms);
          else world.wait(now.key, table.revision, now.timeoutMs);
          await turn();
          for (const wait of waits) check(wait, time.wallTimeMs());
        }
        const open = waits.filter(({ outcome }) => outcome === undefined);
        reconciler[Symbol.dispose]();
        await turn();
        assert.ok(open.every(({ outcome }) => outcome === 'disposed'));
        assert.equal(time.timersLeft, 0);
      }),
      { numRuns: 500 },
    );
  });
});
