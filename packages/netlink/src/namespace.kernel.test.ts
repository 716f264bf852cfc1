import assert from 'node:assert/strict';
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { platform, sandbox, withoutFdLeak } from '../testing/kernel.ts';
import { listLinks } from './links.ts';
import { deleteNamespace, NetworkNamespace, netnsCookie } from './namespace.ts';
import { NetlinkSocket } from './socket.ts';

const own = () => readlinkSync('/proc/thread-self/ns/net');
const mounted = (path: string) =>
  readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${path} `);

test('enter returns to the previous namespace, also after an error and when nested', () => {
  const before = own();
  using outer = NetworkNamespace.create(platform);
  using inner = NetworkNamespace.create(platform);
  assert.equal(own(), before);
  outer.enter(() => {
    assert.equal(own(), `net:[${outer.inode}]`);
    inner.enter(() => assert.equal(own(), `net:[${inner.inode}]`));
    assert.equal(own(), `net:[${outer.inode}]`);
  });
  assert.throws(() => outer.enter(() => assert.fail('inside')), /inside/);
  assert.equal(own(), before);
  assert.throws(() => outer.enter(async () => {}), TypeError);
  assert.equal(own(), before);
});

test('a mounted namespace is found by its path and can be deleted more than once', () => {
  const folder = mkdtempSync(`${tmpdir()}/netlink-`);
  const path = `${folder}/blue`;
  try {
    using made = NetworkNamespace.create(platform, path);
    using opened = NetworkNamespace.open(platform, path);
    assert.equal(opened.inode, made.inode);
    assert.throws(() => NetworkNamespace.create(platform, path), { code: 'EEXIST' });
    assert.ok(mounted(path), 'a failed creation must not disturb the namespace that is there');
  } finally {
    deleteNamespace(platform, path);
    deleteNamespace(platform, path);
    assert.equal(existsSync(path), false);
    assert.equal(mounted(path), false);
    rmdirSync(folder);
  }
});

test('openFirst opens the path that still leads to the namespace', () => {
  const folder = mkdtempSync(`${tmpdir()}/netlink-`);
  const path = `${folder}/blue`;
  const paths = ['/proc/999999999/ns/net', '/proc/self/ns/net', `${folder}/no-mount`, path];
  writeFileSync(`${folder}/no-mount`, '');
  try {
    using made = NetworkNamespace.create(platform, path);
    const inode = Number(made.inode);
    withoutFdLeak(() => {
      using opened = NetworkNamespace.openFirst(platform, paths, inode);
      assert.equal(opened?.cookie, made.cookie);
      assert.equal(NetworkNamespace.openFirst(platform, paths.slice(0, -1), inode), undefined);
    });
  } finally {
    deleteNamespace(platform, path);
    rmSync(folder, { recursive: true });
  }
});

test('create leaves nothing behind when the namespace cannot be mounted', () => {
  const before = own();
  withoutFdLeak(() => {
    assert.throws(() => NetworkNamespace.create(platform, '/nowhere/blue'), { code: 'ENOENT' });
  });
  assert.equal(own(), before);
});

test('cookies and inode numbers differ between namespaces', () => {
  using here = sandbox();
  using there = sandbox();
  assert.notEqual(here.namespace.inode, there.namespace.inode);
  assert.notEqual(here.namespace.cookie, there.namespace.cookie);
  using current = NetworkNamespace.current(platform);
  assert.equal(current.cookie, netnsCookie(platform));
});

test('setSysctl writes the setting of the namespace', () => {
  using here = sandbox();
  using there = sandbox();
  const read = () => readFileSync('/proc/sys/net/ipv4/ip_default_ttl', 'utf8').trim();
  here.namespace.setSysctl('net/ipv4/ip_default_ttl', 33);
  assert.equal(here.namespace.enter(read), '33');
  assert.notEqual(there.namespace.enter(read), '33');
  assert.throws(() => here.namespace.setSysctl('net/ipv4/nothing', 1), { name: 'SysError' });
});

test('a socket stays in the namespace in which it was opened', () => {
  using here = sandbox();
  assert.deepEqual(
    listLinks(here.socket).map(({ name }) => name),
    ['lo'],
  );
  using outside = new NetlinkSocket(platform);
  assert.notDeepEqual(listLinks(outside), listLinks(here.socket));
});

test('work with namespaces leaves no descriptor open', () => {
  withoutFdLeak(() => {
    using here = sandbox();
    here.namespace.enter(() => here.namespace.cookie);
    here.namespace.setSysctl('net/ipv4/ip_forward', 1);
    assert.throws(() => here.namespace.enter(() => writeFileSync('/nowhere/x', '')));
  });
});

test('a closed namespace or netlink socket throws, also when its descriptor number is used again', () => {
  const namespace = NetworkNamespace.current(platform);
  namespace[Symbol.dispose]();
  const closed = /^Error: use network namespace: it is closed$/;
  assert.throws(() => namespace.enter(() => {}), closed);
  assert.throws(() => namespace.inode, closed);
  assert.throws(() => namespace.fd, closed);
  const socket = new NetlinkSocket(platform);
  socket[Symbol.dispose]();
  using _other = new NetlinkSocket(platform);
  assert.throws(() => listLinks(socket), /^Error: use netlink socket: it is closed$/);
});
