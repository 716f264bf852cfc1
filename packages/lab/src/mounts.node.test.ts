import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cgroupFolder } from './cgroup.ts';
import { listMounts, readMountinfo } from './mounts.ts';

test('mounts with optional fields and blanks are parsed', () => {
  const text = [
    '22 27 0:21 / /proc rw,relatime - proc proc rw',
    '36 35 98:0 /a /mnt/a\\040b rw shared:7 master:1 - cgroup2 none rw',
    '40 27 0:4 net:[4026532177] /run/x/netns/y rw - nsfs nsfs rw',
    '',
  ].join('\n');
  assert.deepEqual(readMountinfo(text), [
    { root: '/', path: '/proc', type: 'proc' },
    { root: '/a', path: '/mnt/a b', type: 'cgroup2' },
    { root: 'net:[4026532177]', path: '/run/x/netns/y', type: 'nsfs' },
  ]);
  assert.ok(listMounts().some(({ type }) => type === 'proc'));
});

test('the own cgroup is found with version 2 alone, beside version 1, and in containers', () => {
  const top = { root: '/', path: '/sys/fs/cgroup', type: 'cgroup2' };
  const mixed = { ...top, path: '/sys/fs/cgroup/unified' };
  const part = { ...top, root: '/docker/1f' };
  assert.equal(cgroupFolder(top, '0::/\n'), '/sys/fs/cgroup');
  assert.equal(
    cgroupFolder(top, '0::/system.slice/ssh.service\n'),
    '/sys/fs/cgroup/system.slice/ssh.service',
  );
  assert.equal(cgroupFolder(mixed, '4:memory:/a\n0::/b\n'), '/sys/fs/cgroup/unified/b');
  assert.equal(cgroupFolder(part, '0::/docker/1f\n'), '/sys/fs/cgroup');
  assert.equal(cgroupFolder(part, '0::/docker/1f/x\n'), '/sys/fs/cgroup/x');
  assert.equal(cgroupFolder(part, '0::/docker/1fe\n'), '/sys/fs/cgroup/docker/1fe');
});
