import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodePlatform } from '@heddle/sys/node';
import { assertNothingLeft, DemoRun, kernelObjectsOf } from '../testing/demo-run.ts';
import { Terminal } from '../testing/terminal.ts';

const platform = nodePlatform();
const leave = '\x1b[?25h\x1b[?1049l';

/** Starts a demo on a terminal, and resolves when it sends requests. */
async function startLive(terminal: Terminal): Promise<DemoRun> {
  const demo = DemoRun.start([], [terminal.slave, terminal.slave, 'pipe']);
  await until(demo, terminal, /[1-9]\d*\/s .* in all /, 'traffic');
  return demo;
}

async function until(demo: DemoRun, terminal: Terminal, shown: RegExp, what: string) {
  await demo.until(() => shown.test(terminal.screen.join('\n')), what);
}

function totals(terminal: Terminal) {
  const text = terminal.screen.join('\n');
  const [, all, refused, failed] =
    /([\d,]+) in all +refused ([\d,]+) +failed ([\d,]+)/.exec(text) ?? assert.fail(text);
  const number = (digits: string | undefined) => Number(digits!.replaceAll(',', ''));
  return { all: number(all), refused: number(refused), failed: number(failed) };
}

test('no request fails while backends are added and removed and the agent is killed', async () => {
  using terminal = new Terminal(platform, 100, 40);
  const settings = terminal.settings;
  using demo = await startLive(terminal);
  const pid = demo.child.pid!;
  const objects = kernelObjectsOf(platform, pid);
  await until(demo, terminal, /IPv4 +10\.96\.0\.10:80 +programmed {2}3 backends/, 'three backends');
  const agent = /agent running, pid (\d+)/.exec(terminal.screen[0]!)![1];

  terminal.type('a');
  await until(
    demo,
    terminal,
    /10\.244\.1\.4:8080 +node1 same node +█.* [1-9][\d.]* %/,
    'a share for the new one',
  );
  await until(demo, terminal, /IPv6 .* programmed {2}4 backends/, 'four backends');

  terminal.type('r');
  await until(demo, terminal, /backend 10\.244\.1\.4:8080 ended/, 'the removal');
  await until(demo, terminal, /IPv4 .* programmed {2}3 backends/, 'three backends again');

  terminal.type('k');
  await until(demo, terminal, /agent killed, the kernel continues/, 'the kill');
  const before = totals(terminal).all;
  await until(demo, terminal, /agent running, pid \d+, maps and links adopted/, 'the next agent');
  const [, next] = /pid (\d+)/.exec(terminal.screen[0]!)!;
  assert.notEqual(next, agent);
  assert.ok(totals(terminal).all > before + 100, 'requests continued without an agent');
  // The links are those of the first agent; their programs were replaced in place.
  assert.deepEqual(kernelObjectsOf(platform, pid).links, objects.links);

  const { all, refused, failed } = totals(terminal);
  assert.ok(all > 1000, `${all} requests`);
  assert.deepEqual({ refused, failed }, { refused: 0, failed: 0 });

  terminal.type('q');
  const { exitCode } = await demo.closed;
  assert.equal(exitCode, 0, demo.stderr);
  assert.equal(demo.stderr, '');
  assert.ok(terminal.output.endsWith(leave), 'the terminal is restored');
  assert.deepEqual(terminal.settings, settings);
  await assertNothingLeft(platform, pid, objects);
});

test('connections are refused without backends and succeed after one is added', async () => {
  using terminal = new Terminal(platform, 80, 30);
  using demo = await startLive(terminal);
  terminal.type('rrr');
  await until(
    demo,
    terminal,
    /none: connections are refused at once/,
    'the removal of the last backend',
  );
  await demo.until(() => totals(terminal).refused > 100, 'refused connections');
  terminal.type('a');
  await until(
    demo,
    terminal,
    /10\.244\.1\.4:8080 +node1 same node +█+ +100\.0 %/,
    'all requests at the new backend',
  );
  const { refused } = totals(terminal);
  await demo.until(() => totals(terminal).all > refused + 200, 'more requests');
  assert.deepEqual(totals(terminal).refused, refused);
  assert.equal(totals(terminal).failed, 0);
  terminal.type('\x03');
  assert.equal((await demo.closed).exitCode, 0, demo.stderr);
  await assertNothingLeft(platform, demo.child.pid!);
});

test('the view adapts to the size of the terminal', async () => {
  using terminal = new Terminal(platform, 100, 40);
  using demo = await startLive(terminal);
  assert.equal(Math.max(...terminal.screen.map((line) => line.length)), 100);
  terminal.resize(60, 20);
  demo.child.kill('SIGWINCH');
  await demo.until(() => terminal.screen.length === 20, 'a smaller view');
  assert.equal(Math.max(...terminal.screen.map((line) => line.length)), 60);
  assert.match(terminal.screen.at(-1)!, /^ {2}a {2}add a backend/);
  // The escape sequence of an arrow key ends in a letter, which must not count as a key.
  terminal.type('\x1b[Aq');
  assert.equal((await demo.closed).exitCode, 0, demo.stderr);
});

test('a signal restores the terminal', async () => {
  using terminal = new Terminal(platform, 80, 30);
  const settings = terminal.settings;
  using demo = await startLive(terminal);
  demo.child.kill('SIGHUP');
  const { exitCode } = await demo.closed;
  assert.equal(exitCode, 129);
  assert.ok(terminal.output.endsWith(leave), 'the terminal is restored');
  assert.deepEqual(terminal.settings, settings);
  await assertNothingLeft(platform, demo.child.pid!);
});

test('the demo ends with the last output of an agent that ends by itself', async () => {
  using terminal = new Terminal(platform, 80, 30);
  using demo = await startLive(terminal);
  const agent = Number(/pid (\d+)/.exec(terminal.screen[0]!)![1]);
  process.kill(agent, 'SIGTERM');
  const { exitCode } = await demo.closed;
  assert.notEqual(exitCode, 0);
  assert.ok(terminal.output.endsWith(leave), 'the terminal is restored');
  assert.match(demo.stderr, /run agent: it ended with .*; its last output:\n/);
  assert.doesNotMatch(demo.stderr, /\n +at /);
  await assertNothingLeft(platform, demo.child.pid!);
});
