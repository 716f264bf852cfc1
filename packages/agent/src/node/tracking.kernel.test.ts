import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { NetworkNamespace } from '@heddle/netlink';
import type { Platform } from '@heddle/sys';
import { nodePlatform } from '@heddle/sys/node';
import { watchTracking } from './tracking.ts';

const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
const skip = spawnSync('nft', ['--version'], { env }).error && 'nft is not installed';

test('connection tracking is reported once when rules begin to need it', {
  skip,
}, () => {
  const platform = nodePlatform(() => {});
  using namespace = NetworkNamespace.create(platform);
  let due: (() => void) | undefined;
  const slow: Platform = {
    ...platform,
    setTimer(_, callback) {
      due = callback;
      return {
        [Symbol.dispose]() {
          due = undefined;
        },
      };
    },
  };
  const elapse = () => {
    const callback = due!;
    due = undefined;
    namespace.enter(callback);
  };
  const told: boolean[] = [];
  const watch = namespace.enter(() => watchTracking(slow, (tracked) => told.push(tracked)));
  assert.deepEqual(told, [false]);
  elapse();
  assert.deepEqual(told, [false]);
  const rules =
    'table inet t { chain f { type filter hook forward priority 0; ct state invalid drop; }; }';
  namespace.enter(() => execFileSync('nft', ['-f', '-'], { env, input: rules }));
  const script = "require('dgram').createSocket('udp4').send('x', 9, '127.0.0.1', process.exit)";
  namespace.enter(() => {
    execFileSync('ip', ['link', 'set', 'lo', 'up'], { env });
    execFileSync(process.execPath, ['-e', script]);
  });
  elapse();
  assert.deepEqual(told, [false, true]);
  assert.equal(due, undefined, 'no more wake-ups');
  watch[Symbol.dispose]();

  using again = namespace.enter(() => watchTracking(slow, (tracked) => told.push(tracked)));
  assert.deepEqual(told, [false, true, true], 'at once');
  assert.ok(again);
});
