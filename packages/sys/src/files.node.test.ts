import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closeFd, fdStatus, openFile, readToEnd } from './files.ts';
import { nodePlatform } from './node/platform.ts';

const platform = nodePlatform();

test('a closed file throws, and the file that has its descriptor now stays open', () => {
  const first = openFile(platform, '/dev/null');
  const { fd } = first;
  first[Symbol.dispose]();
  using second = openFile(platform, '/proc/self/status');
  assert.equal(second.fd, fd);
  first[Symbol.dispose]();
  assert.throws(() => first.fd, /^Error: use \/dev\/null: it is closed$/);
  assert.ok(readToEnd(platform, second.fd).length > 0);
});

test('a detached descriptor stays open when the file is disposed', () => {
  let fd: number;
  {
    using file = openFile(platform, '/dev/null');
    fd = file.detach();
    assert.throws(() => file.fd, /it is closed/);
  }
  try {
    assert.equal(fdStatus(platform, fd).kind, 'device');
  } finally {
    closeFd(platform, fd);
  }
});
