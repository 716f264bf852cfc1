import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { eventually } from '@heddle/sys/testing/eventually';
import { isAlive, thisProcess } from './run-folder.ts';

/** Returns state and start time of a process (proc(5)). */
function statOf(pid: number): { state: string; startTime: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0]!, startTime: Number(fields[19]) };
}

test('isAlive is false for a zombie', async () => {
  // The shell starts a process that reads, and then becomes one that does not wait for it.
  const parent = spawn('sh', ['-c', 'cat <&3 & echo $!; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'inherit', 'pipe'],
  });
  try {
    const [line] = await once(parent.stdout!, 'data');
    const pid = Number(line);
    const owner = { ...thisProcess(), pid, startTime: statOf(pid).startTime };
    assert.equal(isAlive(owner), true);
    (parent.stdio[3] as NodeJS.WritableStream).end();
    await eventually('the process has ended', () => statOf(pid).state === 'Z');
    assert.equal(isAlive(owner), false);
  } finally {
    parent.kill('SIGKILL');
    await once(parent, 'close');
  }
});
