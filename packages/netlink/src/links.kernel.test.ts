import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sandbox, withoutFdLeak } from '../testing/kernel.ts';
import { NetlinkError } from './errors.ts';
import {
  changeLink,
  createBridge,
  createNetkit,
  createVeth,
  deleteLink,
  findLink,
  listLinks,
} from './links.ts';
import { namespaceId } from './namespace-id.ts';

test('a veth pair is made with its peer in another namespace', () => {
  using here = sandbox();
  using there = sandbox();
  createVeth(
    here.socket,
    { name: 'left', address: '02:00:00:00:00:01', mtu: 1400, up: true },
    {
      name: 'right',
      address: '02:00:00:00:00:02',
      mtu: 1300,
      namespaceFd: there.namespace.fd,
    },
  );
  const left = findLink(here.socket, 'left')!;
  const right = findLink(there.socket, 'right')!;
  assert.equal(left.kind, 'veth');
  assert.equal(left.address, '02:00:00:00:00:01');
  assert.equal(left.mtu, 1400);
  assert.equal(left.up, true);
  assert.equal(left.peer, right.index);
  assert.notEqual(left.peerNamespaceId, undefined);
  assert.equal(namespaceId(here.socket, there.namespace.fd), left.peerNamespaceId);
  assert.equal(namespaceId(there.socket, here.namespace.fd), right.peerNamespaceId);
  using stranger = sandbox();
  assert.equal(namespaceId(here.socket, stranger.namespace.fd), undefined);
  assert.deepEqual([right.address, right.mtu, right.up], ['02:00:00:00:00:02', 1300, false]);
  assert.deepEqual(
    listLinks(here.socket).map(({ name }) => name),
    ['lo', 'left'],
  );
});

test('a netkit pair likewise, where the kernel has netkit', (context) => {
  using here = sandbox();
  using there = sandbox();
  const create = () =>
    createNetkit(
      here.socket,
      'l2',
      { name: 'left', up: true },
      { name: 'right', namespaceFd: there.namespace.fd },
    );
  try {
    create();
  } catch (error) {
    if ((error as { code?: string }).code !== 'EOPNOTSUPP') throw error;
    context.skip('the kernel has no netkit (Linux 6.8 with CONFIG_NETKIT)');
    return;
  }
  const left = findLink(here.socket, 'left')!;
  const right = findLink(there.socket, 'right')!;
  assert.deepEqual([left.kind, right.kind, left.up], ['netkit', 'netkit', true]);
  assert.equal(left.peer, right.index);
  assert.throws(create, { code: 'EEXIST' });
});

test('a link is changed: up, down, mtu, address, name, namespace', () => {
  using here = sandbox();
  using there = sandbox();
  createVeth(here.socket, { name: 'a' }, { name: 'b' });
  const { index } = findLink(here.socket, 'a')!;
  changeLink(here.socket, index, { up: true, mtu: 1280, address: '02:00:00:00:00:07' });
  const up = findLink(here.socket, index)!;
  assert.deepEqual([up.up, up.mtu, up.address], [true, 1280, '02:00:00:00:00:07']);
  changeLink(here.socket, index, { up: false });
  assert.equal(findLink(here.socket, index)!.up, false);
  changeLink(here.socket, index, { name: 'renamed' });
  assert.equal(findLink(here.socket, 'a'), undefined);
  changeLink(here.socket, index, { namespaceFd: there.namespace.fd, name: 'moved' });
  assert.equal(findLink(here.socket, 'renamed'), undefined);
  assert.equal(findLink(there.socket, 'moved')!.mtu, 1280);
});

test('a bridge takes ports and gives them back', () => {
  using here = sandbox();
  createBridge(here.socket, { name: 'br0', address: '02:00:00:00:00:09', up: true });
  const bridge = findLink(here.socket, 'br0')!;
  assert.deepEqual([bridge.kind, bridge.address], ['bridge', '02:00:00:00:00:09']);
  createVeth(here.socket, { name: 'port', master: bridge.index }, { name: 'far' });
  const port = findLink(here.socket, 'port')!;
  assert.equal(port.master, bridge.index);
  changeLink(here.socket, port.index, { master: 0 });
  assert.equal(findLink(here.socket, 'port')!.master, undefined);
});

test('deleting takes the peer along, and may be repeated', () => {
  using here = sandbox();
  createVeth(here.socket, { name: 'a' }, { name: 'b' });
  const { index } = findLink(here.socket, 'a')!;
  assert.equal(deleteLink(here.socket, index), true);
  assert.equal(deleteLink(here.socket, index), false);
  assert.equal(findLink(here.socket, 'b'), undefined);
});

test('errors say what was being done and what the kernel thinks', () => {
  using here = sandbox();
  createBridge(here.socket, { name: 'br0' });
  const again = () => createBridge(here.socket, { name: 'br0' });
  assert.throws(again, { name: 'NetlinkError', code: 'EEXIST', message: /^create bridge br0: / });
  assert.throws(() => changeLink(here.socket, 4711, { up: true }), NetlinkError);
  for (const name of ['', 'a name', 'sixteen-letters-x', 'a/b', '.']) {
    assert.throws(() => createBridge(here.socket, { name }), RangeError, name);
  }
});

test('many links fit no single datagram and are all listed', () => {
  using here = sandbox();
  for (let i = 0; i < 100; i++) createBridge(here.socket, { name: `bridge${i}` });
  assert.equal(listLinks(here.socket).length, 101);
});

test('no descriptor is left open', () => {
  withoutFdLeak(() => {
    using here = sandbox();
    listLinks(here.socket);
    assert.throws(() => changeLink(here.socket, 4711, { up: true }));
  });
});
