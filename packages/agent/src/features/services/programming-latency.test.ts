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
  it('runs from the event until the row is programmed', () => {
    const { seen, clock, latency } = measured();
    latency.changed('default/web', 2000);
    latency.changed('default/web', 2500);
    latency.changed('default/other', 2000);
    clock.nowMs = 4000;
    latency.settled(row, 'done');
    latency.settled(row, 'done');
    assert.deepEqual(seen, [2, 1.5]);
  });

  it('is not measured for events before the start of the agent', () => {
    const { seen, latency } = measured();
    latency.changed('default/web', 999);
    latency.settled(row, 'done');
    assert.deepEqual(seen, []);
  });

  it('lasts until a retry programs a row that failed', () => {
    const { seen, clock, latency } = measured();
    latency.changed('default/web', 2000);
    latency.settled(row, 'failed');
    latency.idle();
    clock.nowMs = 10_000;
    latency.settled(row, 'done');
    assert.deepEqual(seen, [8]);
  });

  it('is dropped when a change has no effect on any row, or its row is removed', () => {
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

  it('is never negative, although clocks of machines differ', () => {
    const { seen, latency } = measured();
    latency.changed('default/web', 5000);
    latency.settled(row, 'done');
    assert.deepEqual(seen, [0]);
  });
});
