import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { errno } from '../errno.ts';
import { nodePlatform } from '../node/platform.ts';
import {
  IN_CLOSE_WRITE,
  IN_CREATE,
  IN_DELETE,
  IN_IGNORED,
  IN_MOVED_FROM,
  IN_MOVED_TO,
  IN_ONLYDIR,
  Inotify,
} from './inotify.ts';

const platform = nodePlatform();

test('Inotify reports the events of a folder with names and cookies', () => {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-sys-'));
  try {
    using inotify = new Inotify(platform);
    const mask = IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE;
    const watch = inotify.add(folder, mask | IN_ONLYDIR);
    assert.equal(inotify.add(folder, mask | IN_ONLYDIR), watch, 'an inode has one watch');
    assert.deepEqual(inotify.read(), []);
    writeFileSync(join(folder, 'a'), 'text');
    renameSync(join(folder, 'a'), join(folder, 'a longer name'));
    rmSync(join(folder, 'a longer name'));
    const events = inotify.read();
    assert.deepEqual(
      events.map(({ mask: event, name }) => [event, name]),
      [
        [IN_CREATE, 'a'],
        [IN_CLOSE_WRITE, 'a'],
        [IN_MOVED_FROM, 'a'],
        [IN_MOVED_TO, 'a longer name'],
        [IN_DELETE, 'a longer name'],
      ],
    );
    assert.ok(events.every((event) => event.watch === watch));
    const [, , from, to] = events;
    assert.ok(from!.cookie !== 0 && from!.cookie === to!.cookie);
    inotify.remove(watch);
    assert.deepEqual(inotify.read(), [{ watch, mask: IN_IGNORED, cookie: 0, name: '' }]);
    inotify.remove(watch);
    assert.equal(inotify.add(join(folder, 'missing'), mask), -errno.ENOENT);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
