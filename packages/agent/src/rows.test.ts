import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type FakeRow, FakeTarget } from '@heddle/state/testing/fake-target';
import { VirtualTime } from '@heddle/state/testing/virtual-time';
import type { FeatureHost } from './feature.ts';
import { Rows } from './rows.ts';

function setUp() {
  const platform = new VirtualTime();
  const target = new FakeTarget();
  const log: string[] = [];
  const took: number[] = [];
  const counts = { idle: 0 };
  const host = {
    platform: platform as unknown as FeatureHost['platform'],
    events: {
      add: (level: string, kind: string, _: string, text: string) =>
        log.push(`${level} ${kind} ${text}`),
    },
    changeLevel: 'info' as const,
    isSettled: true,
    onIdle: () => void counts.idle++,
  };
  const rows = new Rows<FakeRow>(
    host as unknown as ConstructorParameters<typeof Rows<FakeRow>>[0],
    {
      operations: target,
      describe: ({ value }) => ` with ${value}`,
      problems: ({ value }) => (value > 9 ? [`${value} is more than 9`] : []),
      onSynced: (seconds) => took.push(seconds),
    },
  );
  const write = (key: string, value = 0) => rows.write({ upserted: [{ key, value }], removed: [] });
  return { platform, target, log, took, counts, host, rows, write };
}

describe('Rows', () => {
  it('makes an event of each programmed, failed and removed row, and of its problems', () => {
    const { target, log, rows, write } = setUp();
    write('a', 10);
    target.stubborn.add('b');
    write('b');
    rows.write({ upserted: [], removed: ['a'] });
    assert.deepEqual(log, [
      'info in-force a programmed with 10',
      'warn problem 10 is more than 9',
      'warn failed b failed: update b: stubborn',
      'info removed a removed',
    ]);
  });

  it('makes no event of programmed rows before the first objects are settled', () => {
    const { log, host, rows, write } = setUp();
    host.isSettled = false;
    write('a', 10);
    assert.deepEqual(log, []);
    rows.reportProblems();
    assert.deepEqual(log, ['warn problem 10 is more than 9']);
  });

  it('measures from the first change until rows are programmed, not while none can be', () => {
    const { platform, target, took, counts, rows, write } = setUp();
    target.stubborn.add('a');
    write('a');
    platform.pass(50);
    assert.deepEqual([took, rows.waitedMs], [[], 50]);
    target.stubborn.clear();
    platform.pass(50);
    assert.deepEqual([took, rows.waitedMs], [[0.1], 0]);
    assert.equal(rows.lastDoneMs, platform.wallTimeMs());
    assert.ok(counts.idle >= 2);
  });

  it('lets a caller wait for the row that it wrote', async () => {
    const { target, rows, write } = setUp();
    await rows.waitFor('a', write('a'), 1000);
    target.stubborn.add('b');
    await assert.rejects(rows.waitFor('b', write('b'), 1000), { reason: 'failed' });
  });
});
