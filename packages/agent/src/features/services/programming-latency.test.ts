import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ProgrammingLatency } from './programming-latency.ts';

function measured() {
  const seen: number[] = [];
  const clock = { nowMs: 1000 };
  const latency = new ProgrammingLatency(
    () => clock.nowMs,
    (seconds) => seen.push(seconds),
  );
  return { seen, clock, latency };
}

const row = 'default/web:http/TCP/IPv4';

describe('programming latency', () => {
  it('runs from what happened until the row is in force', () => {
    const { seen, clock, latency } = measured();
    latency.changed('default/web', 2000);
    latency.changed('default/web', 2500);
    latency.changed('default/other', 2000);
    clock.nowMs = 4000;
    latency.settled(row, 'done');
    latency.settled(row, 'done');
    assert.deepEqual(seen, [2, 1.5]);
  });

  it('is measured for nothing that happened before the agent', () => {
    const { seen, latency } = measured();
    latency.changed('default/web', 999);
    latency.settled(row, 'done');
    assert.deepEqual(seen, []);
  });

  it('lasts until a row that failed is in force after all', () => {
    const { seen, clock, latency } = measured();
    latency.changed('default/web', 2000);
    latency.settled(row, 'failed');
    latency.idle();
    clock.nowMs = 10_000;
    latency.settled(row, 'done');
    assert.deepEqual(seen, [8]);
  });

  it('ends with a change that has no effect on any row, or with the row', () => {
    const { seen, clock, latency } = measured();
    latency.changed('default/web', 2000);
    latency.idle();
    clock.nowMs = 10_000;
    latency.settled(row, 'done');
    latency.changed('default/web', 9000);
    latency.settled(row, undefined);
    latency.settled(row, 'done');
    assert.deepEqual(seen, []);
  });

  it('is never negative, whatever the clocks of two machines say', () => {
    const { seen, latency } = measured();
    latency.changed('default/web', 5000);
    latency.settled(row, 'done');
    assert.deepEqual(seen, [0]);
  });
});
