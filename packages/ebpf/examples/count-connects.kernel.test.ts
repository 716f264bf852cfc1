import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const example = fileURLToPath(new URL('count-connects.ts', import.meta.url));

test('the example counts its own connections', () => {
  const run = spawnSync(process.execPath, [example, '--once'], { encoding: 'utf8' });
  assert.equal(run.stderr, '');
  assert.match(run.stdout, /^port {4}connects\n\d+ +3\n$/);
  assert.equal(run.status, 0);
});

test('the example names a cgroup that does not exist', () => {
  const run = spawnSync(process.execPath, [example, '--cgroup', '/no/such/cgroup'], {
    encoding: 'utf8',
  });
  assert.equal(
    run.stderr,
    'count-connects: attach program connect4 to cgroup /no/such/cgroup: no such file or directory (ENOENT)\n',
  );
  assert.equal(run.status, 1);
});
