import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VirtualTime } from '../testing/virtual-time.ts';
import { Health } from './health.ts';

test('the agent is healthy when every part is, and each part says since when', () => {
  const time = new VirtualTime();
  const start = time.wallTimeMs();
  const health = new Health(time);
  health.report('manifests', true, '3 files read');
  health.report('rows', true, '3 rows in force');
  assert.equal(health.healthy, true);

  time.pass(10);
  health.report('rows', false, '1 row failed');
  time.pass(10);
  health.report('rows', false, '2 rows failed');
  assert.equal(health.healthy, false);
  assert.deepEqual(health.facts(), [
    { part: 'manifests', healthy: true, message: '3 files read', since: start },
    { part: 'rows', healthy: false, message: '2 rows failed', since: start + 10 },
  ]);
});
