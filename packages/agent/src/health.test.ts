import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { VirtualTime } from '@heddle/state/testing/virtual-time';
import { healthHandler, longestWaitMs } from './health.ts';
import { SyncClock } from './sync-clock.ts';

function node() {
  const time = new VirtualTime();
  const took: number[] = [];
  const sync = new SyncClock(time, (seconds) => took.push(seconds));
  const answers: string[] = [];
  const facts = {
    isEligible: true,
    notReady: 'waiting' as string | undefined,
    problem: undefined as string | undefined,
    brokenMs: 0,
  };
  const handler = healthHandler({
    clock: time,
    progress: () => sync,
    isEligible: () => facts.isEligible,
    notReady: () => facts.notReady,
    broken: () => facts,
    onAnswer: (path, status) => answers.push(`${path} ${status}`),
  });
  const ask = (path: string) => {
    const { status, type, body } = handler(path)!;
    return type === 'application/json' ? { status, ...JSON.parse(body) } : `${status} ${body}`;
  };
  return { time, sync, took, answers, facts, handler, ask };
}

describe('health', () => {
  it('is good from the start, in the form of kube-proxy', () => {
    const { ask, answers } = node();
    // The virtual clock starts there.
    const now = new Date(1_000_000).toISOString();
    assert.deepEqual(ask('/healthz'), {
      status: 200,
      lastUpdated: now,
      currentTime: now,
      nodeEligible: true,
    });
    assert.deepEqual(ask('/livez'), { status: 200, lastUpdated: now, currentTime: now });
    assert.deepEqual(answers, ['/healthz 200', '/livez 200']);
  });

  it('is bad while something is broken in the kernel; /livez only when that lasts', () => {
    const { ask, facts } = node();
    facts.notReady = undefined;
    facts.problem = 'hook connect4 is not attached';
    facts.brokenMs = longestWaitMs;
    assert.equal(ask('/readyz'), '503 hook connect4 is not attached\n');
    assert.equal(ask('/healthz').status, 503);
    assert.equal(ask('/healthz').problem, 'hook connect4 is not attached');
    assert.equal(ask('/livez').status, 200);
    facts.brokenMs++;
    assert.equal(ask('/livez').status, 503);
    facts.problem = undefined;
    facts.brokenMs = 0;
    assert.deepEqual([ask('/healthz').status, ask('/livez').status], [200, 200]);
    assert.match(ask('/readyz'), /^200 ok/);
  });

  it('is bad when a change waits too long, until it is programmed', () => {
    const { ask, sync, time } = node();
    sync.queued();
    sync.done();
    time.pass(1000);
    sync.queued();
    time.pass(longestWaitMs);
    // Later changes don't make the first one younger.
    sync.queued();
    assert.equal(ask('/livez').status, 200);
    time.pass(1);
    assert.equal(ask('/livez').status, 503);
    assert.equal(ask('/healthz').status, 503);
    assert.equal(ask('/livez').lastUpdated, new Date(1_000_000).toISOString());
    sync.done();
    assert.equal(ask('/livez').status, 200);
    assert.equal(ask('/livez').lastUpdated, new Date(time.wallTimeMs()).toISOString());
  });

  it('stays good while nothing changes', () => {
    const { ask, time } = node();
    time.pass(10 * 24 * 3_600_000);
    assert.equal(ask('/livez').status, 200);
  });

  it('/healthz is bad while the node is being deleted, /livez is not', () => {
    const { ask, facts } = node();
    facts.isEligible = false;
    const { status, nodeEligible } = ask('/healthz');
    assert.deepEqual([status, nodeEligible], [503, false]);
    assert.equal(ask('/livez').status, 200);
  });

  it('/readyz is good once the agent is ready', () => {
    const { ask, facts, handler } = node();
    assert.equal(ask('/readyz'), '503 waiting\n');
    facts.notReady = undefined;
    assert.equal(ask('/readyz'), '200 ok\n');
    assert.equal(handler('/'), undefined);
  });
});

describe('sync clock', () => {
  it('measures from the first change until all are programmed', () => {
    const { sync, took, time } = node();
    sync.done();
    assert.deepEqual([took, sync.lastDoneMs, sync.waitedMs], [[], undefined, 0]);
    sync.queued();
    time.pass(250);
    sync.queued();
    time.pass(250);
    assert.equal(sync.waitedMs, 500);
    sync.done();
    assert.deepEqual(took, [0.5]);
    assert.deepEqual([sync.lastQueuedMs, sync.lastDoneMs], [1_000_250, 1_000_500]);
  });
});
