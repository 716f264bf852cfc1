import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createLab, type Lab } from '@heddle/lab';
import { nodePlatform } from '@heddle/sys/node';
import { PinLock, PinsInUse } from './pin-lock.ts';

const platform = nodePlatform(() => {});

describe('PinLock', () => {
  let lab: Lab;
  let folder: string;
  before(() => {
    lab = createLab(platform, { name: `pinlock-${process.pid}`, podsPerNode: 0 });
    folder = `${lab.nodes[0]!.bpffs}/locked`;
  });
  after(() => lab?.remove());

  /** Starts another process. It has the lock when this function returns. */
  async function holder() {
    const module = fileURLToPath(new URL('./pin-lock.ts', import.meta.url));
    const sys = import.meta.resolve('@heddle/sys/node');
    const script = `
      const { PinLock } = await import(${JSON.stringify(module)});
      const { nodePlatform } = await import(${JSON.stringify(sys)});
      const lock = new PinLock(nodePlatform(() => {}), ${JSON.stringify(folder)});
      process.stdout.write('locked');
      process.stdin.once('data', () => { lock[Symbol.dispose](); process.stdout.write('free'); });
      setInterval(() => lock.isCurrent, 1000);`;
    const args = ['--experimental-strip-types', '--input-type=module', '-e', script];
    const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    assert.equal(`${said}`, 'locked');
    return child;
  }

  test('refuses a second process and names the first one, without advice about sockets', async () => {
    const other = await holder();
    try {
      assert.throws(
        () => new PinLock(platform, folder),
        (error) => {
          assert.ok(error instanceof PinsInUse);
          assert.match(error.message, new RegExp(`^take over ${folder}: another agent`));
          assert.match(
            error.message,
            new RegExp(`\\(process ${other.pid}\\).*\\(stop it first\\)$`),
          );
          assert.doesNotMatch(error.message, /socket/);
          return true;
        },
      );
    } finally {
      other.kill('SIGKILL');
      await once(other, 'exit');
    }
    // The kernel has released it with the process.
    new PinLock(platform, folder)[Symbol.dispose]();
  });

  test('waits while an earlier process ends', async () => {
    const other = await holder();
    // The wait stops this thread: the other process releases the lock by itself, meanwhile.
    other.stdin.write('x');
    using lock = new PinLock(platform, folder, 60_000);
    assert.equal(lock.isCurrent, true);
    other.kill('SIGKILL');
    await once(other, 'exit');
  });

  test('leaves no descriptor open, whether it succeeds or not', () => {
    const descriptors = () => readdirSync('/proc/self/fd').length;
    const before = descriptors();
    {
      using _lock = new PinLock(platform, folder);
      assert.throws(() => new PinLock(platform, folder), PinsInUse);
    }
    assert.equal(descriptors(), before);
  });

  test('reports when the folder is another one, and locks that one', () => {
    using lock = new PinLock(platform, folder);
    rmdirSync(folder);
    assert.equal(lock.isCurrent, false);
    mkdirSync(folder);
    assert.equal(lock.isCurrent, false);
    lock.renew();
    assert.equal(lock.isCurrent, true);
    assert.throws(() => new PinLock(platform, folder), PinsInUse);
  });
});
