import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { nodePlatform } from '@heddle/sys/node';
import { guardedPlatform } from './guarded-platform.ts';

describe('a guarded platform', () => {
  it('logs and counts the error of a timer, once for the same message, and the process goes on', async () => {
    const log: string[] = [];
    const failed: string[] = [];
    const base = nodePlatform((level, message) => log.push(`${level} ${message}`));
    const platform = guardedPlatform(base, ({ message }) => failed.push(message));
    for (let i = 0; i < 3; i++) {
      platform.setTimer(0, () => {
        throw new Error('list links: EMFILE');
      });
    }
    await sleep(20);
    assert.deepEqual(failed, Array(3).fill('list links: EMFILE'));
    assert.deepEqual(log, ['error a timer failed: list links: EMFILE; the agent goes on']);
  });

  it('reports the end of a command that fails, and passes system calls on unchanged', async () => {
    const failed: string[] = [];
    const base = nodePlatform(() => {});
    const platform = guardedPlatform(base, ({ message }) => failed.push(message));
    const ended = new Promise<void>((resolve) => {
      platform.run({ command: '/bin/true', args: [], env: {} }, () => {
        resolve();
        throw new Error('cannot take it');
      });
    });
    await ended;
    await sleep(0);
    assert.deepEqual(failed, ['cannot take it']);
    const getpid = 39;
    if (platform.arch === 'x64') assert.equal(platform.syscall(getpid), process.pid);
  });
});
