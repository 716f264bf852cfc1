import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { nodePlatform } from '@heddle/sys/node';
import { eventually } from '@heddle/sys/testing/eventually';
import type { DropsAnswer, MapAnswer } from '@heddle/web/contract';
import {
  assertNothingLeft,
  DemoRun,
  kernelObjectsOf,
  leftoversOf,
  pathsOf,
} from '../testing/demo-run.ts';
import type { OnceResult } from './summary.ts';

const platform = nodePlatform();

test('npm start -- --once --json prints one JSON object and nothing else', async () => {
  using demo = DemoRun.npmStart(['--once', '--json']);
  const pid = await demo.demoPid();
  const { exitCode } = await demo.closed;

  assert.equal(exitCode, 0, demo.stderr);
  assert.equal(demo.stdout.trim().split('\n').length, 1, demo.stdout);
  const result = JSON.parse(demo.stdout) as OnceResult;
  assert.deepEqual(Object.keys(result), [
    ...['engine', 'requests', 'failed', 'backends', 'latencyUs', 'pods'],
  ]);
  assert.equal(result.engine, 'kernel');
  assert.ok(result.requests >= 2000, `${result.requests} requests`);
  assert.equal(result.failed, 0);
  const counts = Object.values(result.backends);
  assert.equal(counts.length, 3);
  assert.equal(
    counts.reduce((sum, count) => sum + count, 0),
    result.requests,
  );
  for (const [backend, count] of Object.entries(result.backends)) {
    assert.match(backend, /^10\.244\.[123]\.\d+:8080$/);
    // Six standard deviations of a random choice: one run in 10^9 exceeds it.
    const spread = 6 * Math.sqrt(result.requests * (1 / 3) * (2 / 3));
    assert.ok(Math.abs(count - result.requests / 3) < spread, `${backend}: ${count}`);
  }
  // The CNI plug-in of each node has connected a pod, and the third node is beyond a router.
  assert.deepEqual(
    result.pods.map(({ node, path }) => `${node} ${path}`),
    ['node1 same node', 'node2 direct', 'node3 tunnel'],
  );
  for (const { p50, p99 } of [result.latencyUs.direct, result.latencyUs.service]) {
    assert.ok(p50 !== null && p99 !== null && p50 > 0 && p50 <= p99, `${p50} to ${p99}`);
  }

  await assertNothingLeft(platform, pid);
});

test('--once prints a text summary', async () => {
  using demo = DemoRun.start(['--once']);
  const { exitCode } = await demo.closed;
  assert.equal(exitCode, 0, demo.stderr);
  assert.equal(demo.stderr, '');
  assert.match(demo.stdout, /^4,000 requests to the service at 10\.96\.0\.10:80, .*: 0 failed\n/);
  assert.match(demo.stdout, /\n {2}10\.244\.3\.2:8080 +node3 tunnel +1,\d{3} +\d\d\.\d % {2}█+/);
  assert.match(demo.stdout, /\n {2}service \/ direct +\d\.\d\d +\d+\.\d\d\n$/);
  await assertNothingLeft(platform, demo.child.pid!);
});

test('--ui serves a page with the traffic, and with connections that a policy denies', async () => {
  using demo = DemoRun.start(['--ui']);
  const pid = demo.child.pid!;
  const found = () => /the web page is at (http:\S+)/.exec(demo.stdout)?.[1];
  await demo.until(() => found() !== undefined, 'the page');
  const ask = async (path: string) => (await fetch(`${found()}${path}`)).json();
  assert.match(await (await fetch(found()!)).text(), /<title>.*Heddle/);
  await eventually('the flows of the demo', async () => {
    const { workloads, links } = (await ask('api/map?level=workload')) as MapAnswer;
    const names = links.from.map((from, i) => {
      const verdict = links.dropped[i]! > 0 ? 'dropped' : 'forwarded';
      return `${workloads.name[from]} ${workloads.name[links.to[i]!]} ${verdict}`;
    });
    return ['client hello forwarded', 'report hello dropped'].every((each) => names.includes(each));
  });
  const { kinds } = (await ask('api/drops')) as DropsAnswer;
  assert.equal(kinds[0]!.rules[0]!.policy.name, 'hello-ingress');
  demo.child.kill('SIGTERM');
  await demo.closed;
  await assertNothingLeft(platform, pid);
});

test('a failed request is counted, reported and sets the exit code', async () => {
  using demo = DemoRun.start(['--once', '--json']);
  const pid = demo.child.pid!;
  const backend = () => processesOf(pid, 'node1/pod-1-2')[0];
  await demo.until(() => processesOf(pid, 'node1/client').length > 0, 'the client has started');
  process.kill(backend()!, 'SIGKILL');
  const { exitCode } = await demo.closed;
  assert.equal(exitCode, 1);
  const result = JSON.parse(demo.stdout) as OnceResult;
  assert.ok(result.failed > 0);
  assert.match(demo.stderr, /send service requests: \d+ of 4000 failed \(.*ECONNREFUSED/);
  await assertNothingLeft(platform, pid);
});

for (const [signal, expected] of [
  ['SIGINT', 0],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  test(`${signal} ends the demo and leaves nothing behind`, async () => {
    using demo = DemoRun.start([]);
    const pid = demo.child.pid!;
    await demo.until(() => /requests\/s; refused 0, failed 0; /.test(demo.stdout), 'traffic');
    const objects = kernelObjectsOf(platform, pid);
    assert.ok(leftoversOf(pid).length > 10);
    demo.child.kill(signal);
    const { exitCode } = await demo.closed;
    assert.equal(exitCode, expected);
    assert.equal(demo.stderr, '');
    await assertNothingLeft(platform, pid, objects);
  });
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGKILL'] as const) {
  test(`${signal} to npm alone ends the demo too`, async () => {
    using demo = DemoRun.npmStart([]);
    const pid = await demo.demoPid();
    await demo.until(() => /requests\/s/.test(demo.stdout), 'traffic');
    demo.child.kill(signal);
    // It resolves when the last process that could write to its stdout has ended.
    await demo.closed;
    await demo.until(() => leftoversOf(pid).length === 0, 'everything is removed');
  });
}

test('a signal during the start ends the demo and leaves nothing behind', async () => {
  using demo = DemoRun.start(['--once']);
  const pid = demo.child.pid!;
  await demo.until(() => processesOf(pid, 'node1').length > 0, 'the agent has started');
  demo.child.kill('SIGINT');
  const { exitCode } = await demo.closed;
  assert.equal(exitCode, 130);
  assert.equal(demo.stdout, '');
  await assertNothingLeft(platform, pid);
});

test('the next run removes what a killed demo left', async () => {
  using killed = DemoRun.start([]);
  const pid = killed.child.pid!;
  await killed.until(() => /requests\/s/.test(killed.stdout), 'traffic');
  const objects = kernelObjectsOf(platform, pid);
  const ended = once(killed.child, 'exit');
  killed.child.kill('SIGKILL');
  // Not `closed`: the remaining backends still have its stderr open.
  await ended;
  assert.notDeepEqual(leftoversOf(pid), []);

  using next = DemoRun.start(['--once', '--json']);
  const { exitCode } = await next.closed;
  assert.equal(exitCode, 0, next.stderr);
  // Its processes have been killed, but init may take a moment to reap them.
  await next.until(() => leftoversOf(pid).length === 0, 'what was left is removed');
  await assertNothingLeft(platform, pid, objects);
  await assertNothingLeft(platform, next.child.pid!);
});

test('a client that ends by itself ends the demo with a message and leaves nothing behind', async () => {
  using demo = DemoRun.start([]);
  const pid = demo.child.pid!;
  await demo.until(() => /requests\/s/.test(demo.stdout), 'traffic');
  process.kill(processesOf(pid, 'node1/client')[0]!, 'SIGKILL');
  const { exitCode } = await demo.closed;
  assert.ok(exitCode !== 0);
  assert.match(demo.stderr, /^heddle demo: .*run HTTP client in client: ended by SIGKILL/);
  assert.doesNotMatch(demo.stderr, /\n +at /);
  await assertNothingLeft(platform, pid);
});

test('wrong usage exits with code 2', async () => {
  for (const args of [
    ['--json'],
    ['--twice'],
    ['more'],
    ['--ui', '--once'],
    ['--ui', '--engine=vm'],
  ]) {
    using demo = DemoRun.start(args);
    const { exitCode } = await demo.closed;
    assert.equal(exitCode, 2);
    assert.match(demo.stderr, /^heddle demo: .*npm start -- --help.*\n$/s);
  }
});

function processesOf(pid: number, place: string): number[] {
  try {
    const path = `${pathsOf(pid).cgroup}/${place}/cgroup.procs`;
    return readFileSync(path, 'utf8').split('\n').filter(Boolean).map(Number);
  } catch {
    // The cgroup doesn't exist yet.
    return [];
  }
}
