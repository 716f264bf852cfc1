import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Damage } from '@heddle/datapath';
import { VirtualTime } from '@heddle/state/testing/virtual-time';
import { MemoryIntegrity } from '../testing/parts.ts';
import { IntegrityWatch } from './integrity-watch.ts';

const detached = (name: string): Damage => ({ kind: 'hook', name, problem: 'is not attached' });
const wiped: Damage = { kind: 'map', name: 'services', problem: 'lacks 3 of its entries' };

function watched() {
  const time = new VirtualTime();
  const integrity = new MemoryIntegrity();
  const log: string[] = [];
  const pins = { kept: 0 };
  const watch = new IntegrityWatch({
    platform: time,
    node: 'n1',
    integrity,
    events: { add: (level, kind, _, message) => void log.push(`${level} ${kind} ${message}`) },
    keepPins: () => void pins.kept++,
  });
  return { time, integrity, log, pins, watch };
}

describe('the integrity watch', () => {
  it('reports nothing while nothing changes', () => {
    const { time, log, watch } = watched();
    time.pass(120_000);
    assert.deepEqual(log, []);
    assert.deepEqual(watch.status, {
      broken: [],
      incidents: { hook: 0, pin: 0, map: 0 },
      repairs: 0,
      failedRepairs: 0,
    });
    assert.equal(watch.problem, undefined);
    assert.equal(watch.brokenMs, 0);
  });

  it('repairs hooks within a second, with one line for all of them', () => {
    const { time, integrity, log, pins, watch } = watched();
    integrity.damages = ['connect4', 'connect6', 'bind4', 'bind6'].map(detached);
    time.pass(1000);
    assert.deepEqual(log, [
      'warn problem hooks connect4, connect6, bind4 and 1 more: each is not attached: another program has changed it; repaired',
    ]);
    assert.equal(pins.kept, 1);
    assert.deepEqual(watch.status.incidents, { hook: 1, pin: 0, map: 0 });
    assert.equal(watch.status.repairs, 1);
    assert.equal(watch.problem, undefined);
  });

  it('audits every map within 30 s', () => {
    const { time, integrity, log, watch } = watched();
    let audits = 0;
    const { auditNext } = integrity;
    integrity.auditNext = () => {
      audits++;
      return auditNext.call(integrity);
    };
    time.pass(25_000);
    assert.ok(audits >= integrity.mapCount - 1 && audits <= integrity.mapCount, `${audits}`);
    integrity.changedMaps = [wiped];
    time.pass(3000);
    assert.deepEqual(log, [
      'warn problem map services lacks 3 of its entries: another program has changed it; repaired',
    ]);
    assert.deepEqual(watch.status.incidents, { hook: 0, pin: 0, map: 1 });
  });

  it('reports a failed repair once, retries it at growing intervals, and reports the success', () => {
    const { time, integrity, log, watch } = watched();
    integrity.damages = [detached('connect4')];
    integrity.repairError = new Error('attach program connect4 to cgroup: ENOMEM');
    time.pass(120_000);
    assert.equal(log.length, 1, log.join('\n'));
    assert.match(
      log[0]!,
      /^error problem hook connect4 is not attached.*ENOMEM; the repair is retried$/,
    );
    assert.match(watch.problem!, /^hook connect4 is not attached \(attach program .*ENOMEM\)$/);
    assert.deepEqual(watch.status.broken, [detached('connect4')]);
    assert.ok(watch.status.since);
    assert.ok(watch.brokenMs > 100_000);
    assert.deepEqual(watch.status.incidents, { hook: 1, pin: 0, map: 0 });
    const { failedRepairs } = watch.status;
    assert.ok(failedRepairs >= 5 && failedRepairs < 20, `${failedRepairs} attempts in 120 s`);
    integrity.repairError = undefined;
    time.pass(31_000);
    assert.equal(log.length, 2);
    assert.match(
      log[1]!,
      /^info agent what was broken in the kernel is repaired, after 1[2-5]\d s$/,
    );
    assert.equal(watch.problem, undefined);
    assert.equal(watch.brokenMs, 0);
  });

  it('retries at once when more is broken', () => {
    const { time, integrity, watch } = watched();
    integrity.damages = [detached('connect4')];
    integrity.repairError = new Error('no');
    time.pass(100_000);
    integrity.repairError = undefined;
    integrity.damages = [detached('connect4'), detached('connect6')];
    time.pass(1000);
    assert.equal(watch.problem, undefined);
    assert.deepEqual(watch.status.incidents, { hook: 2, pin: 0, map: 0 });
  });

  it('keeps the damage of a map until it is repaired, although the next audits are of other maps', () => {
    const { time, integrity, watch } = watched();
    integrity.repairError = new Error('no');
    integrity.changedMaps = [wiped];
    time.pass(3000);
    integrity.changedMaps = [];
    time.pass(10_000);
    assert.deepEqual(watch.status.broken, [wiped]);
  });

  it('goes on after failed checks, and reports several in a row', () => {
    const { time, integrity, log, watch } = watched();
    const { checkAttachments } = integrity;
    integrity.checkAttachments = () => {
      throw new Error('get object info: EMFILE');
    };
    time.pass(2000);
    assert.deepEqual([log, watch.problem], [[], undefined]);
    time.pass(10_000);
    assert.equal(log.length, 1);
    assert.equal(
      watch.problem,
      'the state of the programs in the kernel is unknown: get object info: EMFILE'.replace(
        '’',
        "'",
      ),
    );
    integrity.checkAttachments = checkAttachments;
    time.pass(1000);
    assert.deepEqual(log.slice(1), [
      'info agent the state of the programs in the kernel is known again',
    ]);
    assert.equal(watch.problem, undefined);
    integrity.damages = [detached('connect4')];
    time.pass(1000);
    assert.equal(watch.status.repairs, 1);
  });

  it('repairs nothing once the programs are released for removal', () => {
    const { time, integrity, log, watch } = watched();
    integrity.repairError = new Error('no');
    integrity.damages = [detached('connect4')];
    time.pass(5000);
    assert.ok(watch.problem);
    watch.release();
    assert.deepEqual([watch.problem, watch.brokenMs, time.timersLeft], [undefined, 0, 0]);
    assert.equal(watch.status.released, true);
    time.pass(60_000);
    assert.equal(log.length, 1);
  });
});
