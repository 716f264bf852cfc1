import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RunOptions, RunResult } from '../platform.ts';
import { decodeUtf8 } from '../utf8.ts';
import { runCommand } from './command.ts';

function run(options: Partial<RunOptions>): Promise<RunResult> {
  return new Promise((resolve) =>
    runCommand({ command: process.execPath, args: [], env: {}, ...options }, resolve),
  );
}

test('a command has its environment, and its result has output and exit code', async () => {
  const script =
    'console.log(process.env.A, Object.keys(process.env)); console.error("no"); process.exit(3)';
  const result = await run({ args: ['-e', script], env: { A: 'x y', B: undefined } });
  assert.equal(decodeUtf8(result.stdout), "x y [ 'A' ]\n");
  assert.equal(decodeUtf8(result.stderr), 'no\n');
  assert.equal(result.exitCode, 3);
  assert.equal(result.error, undefined);
});

test('a command gets its arguments without a shell', async () => {
  const args = ['-e', 'console.log(process.argv.slice(1).join("|"))', '--', '$(id)', '; true', '*'];
  assert.equal(decodeUtf8((await run({ args })).stdout), '$(id)|; true|*\n');
});

test('a command is found in PATH and has no input', async () => {
  const result = await run({ command: 'cat', env: { PATH: '/usr/bin:/bin' } });
  assert.deepEqual([result.exitCode, result.stdout.length], [0, 0]);
});

test('a command that is missing, killed or writes without end is an error', async () => {
  const missing = await run({ command: '/no/such/command' });
  assert.equal(missing.error?.message, 'run /no/such/command: no such command');
  assert.equal(missing.exitCode, undefined);
  const killed = await run({ args: ['-e', 'process.kill(process.pid, "SIGTERM")'] });
  assert.match(killed.error!.message, /: killed by SIGTERM$/);
  const endless = await run({ command: 'yes', env: { PATH: '/usr/bin:/bin' } });
  assert.match(endless.error!.message, /^run yes: it wrote more than 1 MiB to its stdout$/);
  assert.ok(endless.stdout.length <= 1024 * 1024);
});

test('disposal kills the command and calls nothing', async () => {
  const silence = await new Promise<string>((resolve) => {
    const running = runCommand(
      { command: 'sleep', args: ['1000'], env: { PATH: '/usr/bin:/bin' } },
      () => resolve('called'),
    );
    running[Symbol.dispose]();
    // This process can only end when the command has: the pipes to it keep it alive.
    setImmediate(resolve, 'silent');
  });
  assert.equal(silence, 'silent');
});
