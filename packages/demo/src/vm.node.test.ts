import assert from 'node:assert/strict';
import { test } from 'node:test';
import { elsewhere } from '@heddle/cli/testing/heddle';
import { DemoRun } from '../testing/demo-run.ts';
import { Demo } from './demo.ts';
import type { OnceResult } from './summary.ts';
import { VmEngine } from './vm-engine.ts';

/** The options of a process without privileges; none are needed if this process has none. */
const nobody = process.getuid!() === 0 ? { uid: 65534, gid: 65534 } : {};

test('--engine=vm --once --json prints the same object, without root', async () => {
  using demo = DemoRun.start(['--engine=vm', '--once', '--json']);
  const { exitCode } = await demo.closed;
  assert.equal(exitCode, 0, demo.stderr);
  assert.equal(demo.stderr, '');
  const result = JSON.parse(demo.stdout) as OnceResult;
  assert.deepEqual(Object.keys(result), [
    'engine',
    'requests',
    'failed',
    'backends',
    'latencyUs',
    'pods',
  ]);
  assert.equal(result.engine, 'vm');
  assert.equal(result.requests, 4000);
  assert.equal(result.failed, 0);
  const counts = Object.entries(result.backends);
  assert.deepEqual(
    counts.map(([endpoint]) => endpoint),
    ['10.244.1.2:8080', '10.244.1.3:8080', '10.244.1.4:8080'],
  );
  assert.equal(
    counts.reduce((sum, [, count]) => sum + count, 0),
    4000,
  );
  // Random from a fixed seed: the same each time, with the usual deviation.
  for (const [, count] of counts) assert.ok(Math.abs(count - 4000 / 3) < 180, `${count}`);
});

/** The message when the demo chooses the userspace machine itself. */
const instead = 'Running in the userspace machine (--engine=vm) instead.\n';
const summary = /^4,000 requests to the service at .*: 0 failed$/m;

test('without privileges the demo runs in the userspace machine and reports it in one line', async () => {
  using demo = DemoRun.start(['--once'], 'pipe', { ...nobody });
  const { exitCode } = await demo.closed;
  assert.equal(exitCode, 0, demo.stderr);
  assert.match(
    demo.stderr,
    /^heddle demo: not permitted: the process lacks .*\. Running [^\n]*\n$/,
  );
  assert.ok(demo.stderr.endsWith(instead), demo.stderr);
  assert.match(demo.stdout, summary);
});

test('on another system than Linux the demo runs in the userspace machine', async () => {
  for (const [args, expected] of [
    [['--once'], /^heddle demo: start heddle: darwin on \w+ is not supported .*instead\.\n$/],
    [['--engine=vm', '--once'], /^$/],
  ] as const) {
    using demo = DemoRun.start(args, 'pipe', { env: elsewhere });
    const { exitCode } = await demo.closed;
    assert.equal(exitCode, 0, demo.stderr);
    assert.match(demo.stderr, expected);
    assert.match(demo.stdout, summary);
  }
});

test('an unknown engine is refused', async () => {
  using demo = DemoRun.start(['--engine=jvm', '--once']);
  const { exitCode } = await demo.closed;
  assert.equal(exitCode, 2);
  assert.match(demo.stderr, /--engine is kernel or vm, not jvm/);
});

test('no request fails in the userspace machine while backends change and the agent is killed', async () => {
  const demo = new Demo(
    (watch) => new VmEngine(watch),
    () => {},
    (error) => {
      throw error;
    },
  );
  try {
    await demo.open();
    demo.startTraffic({ rate: 2000, reportMs: 20 });
    await demo.addBackend();
    await demo.removeBackend();
    await demo.removeBackend();
    const before = demo.state.totals.requests;
    await demo.killAgent();
    const { agent, totals, events, backends } = demo.state;
    assert.equal(agent.adopted, true);
    assert.ok(totals.requests > before + 1000, `${totals.requests} after ${before}`);
    assert.equal(totals.failed, 0);
    assert.equal(backends.length, 2);
    const messages = events.map(({ message }) => message);
    assert.ok(
      messages.includes('agent killed; its programs and maps stay in the userspace machine'),
    );
    assert.ok(
      messages.includes('agent restarted: adopted the maps and links in the userspace machine'),
    );
  } finally {
    await demo.close();
  }
});
