import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sandbox, withoutFdLeak } from '../testing/kernel.ts';
import { isNetlinkError, NetlinkError } from './errors.ts';
import {
  changeLink,
  createBridge,
  createNetkit,
  createVeth,
  deleteLink,
  findLink,
  type LinkPair,
  listLinks,
} from './links.ts';
import { namespaceId } from './namespace-id.ts';

test('createVeth creates the peer in another namespace and returns both ends', () => {
  using here = sandbox();
  using there = sandbox();
  const { link: left, peer: right } = createVeth(
    here.socket,
    { name: 'left', address: '02:00:00:00:00:01', mtu: 1400, up: true },
    {
      name: 'right',
      address: '02:00:00:00:00:02',
      mtu: 1300,
      namespaceFd: there.namespace.fd,
    },
  );
  assert.deepEqual(findLink(here.socket, 'left'), left);
  assert.deepEqual(findLink(there.socket, 'right'), right);
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

test('createVeth brings the peer up, in the same namespace or in another one', () => {
  using here = sandbox();
  using there = sandbox();
  const near = createVeth(here.socket, { name: 'a', up: true }, { name: 'b', up: true });
  assert.deepEqual([near.link.up, near.peer.up], [true, true]);
  const { link, peer } = createVeth(
    here.socket,
    { name: 'c', up: true, namespaceFd: there.namespace.fd },
    { name: 'd', up: true, namespaceFd: there.namespace.fd },
  );
  assert.deepEqual([link.up, peer.up], [true, true]);
  assert.deepEqual([findLink(there.socket, 'c'), findLink(there.socket, 'd')], [link, peer]);
  assert.equal(findLink(here.socket, 'c'), undefined);
});

test('createVeth leaves no link and no descriptor behind when it fails', () => {
  using here = sandbox();
  using there = sandbox();
  createBridge(there.socket, { name: 'taken' });
  withoutFdLeak(() => {
    const peer = { name: 'taken', namespaceFd: there.namespace.fd, up: true };
    assert.throws(() => createVeth(here.socket, { name: 'left' }, peer), { code: 'EEXIST' });
  });
  assert.equal(findLink(here.socket, 'left'), undefined);
});

test('createNetkit creates a pair, where the kernel has netkit', (context) => {
  using here = sandbox();
  using there = sandbox();
  const create = () =>
    createNetkit(
      here.socket,
      'l2',
      { name: 'left', up: true },
      { name: 'right', namespaceFd: there.namespace.fd, up: true },
    );
  let pair: LinkPair;
  try {
    pair = create();
  } catch (error) {
    if (!isNetlinkError(error, 'EOPNOTSUPP')) throw error;
    context.skip('the kernel has no netkit (Linux 6.8 with CONFIG_NETKIT)');
    return;
  }
  const { link, peer } = pair;
  assert.deepEqual([link.kind, peer.kind, link.up, peer.up], ['netkit', 'netkit', true, true]);
  assert.equal(link.peer, peer.index);
  assert.throws(create, { code: 'EEXIST' });
});

test('changeLink changes state, mtu, address, alias, name and namespace', () => {
  using here = sandbox();
  using there = sandbox();
  const { index } = createVeth(here.socket, { name: 'a' }, { name: 'b' }).link;
  changeLink(here.socket, index, { alias: 'pod default/web' });
  assert.equal(findLink(here.socket, index)!.alias, 'pod default/web');
  changeLink(here.socket, index, { alias: '' });
  assert.equal(findLink(here.socket, index)!.alias, undefined);
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

test('a link joins a bridge and leaves it', () => {
  using here = sandbox();
  const bridge = createBridge(here.socket, {
    name: 'br0',
    address: '02:00:00:00:00:09',
    up: true,
  });
  assert.deepEqual([bridge.kind, bridge.address, bridge.up], ['bridge', '02:00:00:00:00:09', true]);
  const master = bridge.index;
  const port = createVeth(here.socket, { name: 'port', master }, { name: 'far' }).link;
  assert.equal(port.master, bridge.index);
  changeLink(here.socket, port.index, { master: 0 });
  assert.equal(findLink(here.socket, 'port')!.master, undefined);
});

test('deleteLink deletes both ends of a pair, and returns false for a missing link', () => {
  using here = sandbox();
  const { index } = createVeth(here.socket, { name: 'a' }, { name: 'b' }).link;
  assert.equal(deleteLink(here.socket, index), true);
  assert.equal(deleteLink(here.socket, index), false);
  assert.equal(findLink(here.socket, 'b'), undefined);
});

test('errors name the request, and arguments that are not usable are refused', () => {
  using here = sandbox();
  createBridge(here.socket, { name: 'br0' });
  const again = () => createBridge(here.socket, { name: 'br0' });
  assert.throws(again, { name: 'NetlinkError', code: 'EEXIST', message: /^create bridge br0: / });
  assert.throws(() => changeLink(here.socket, 4711, { up: true }), NetlinkError);
  const name = 'br0' as unknown as number;
  const message = 'change link br0: link br0 is not an ifindex (findLink returns that of a name)';
  assert.throws(() => changeLink(here.socket, name, { up: true }), { name: 'RangeError', message });
  for (const bad of [0, -1, 1.5, Number.NaN, 2 ** 31]) {
    assert.throws(() => deleteLink(here.socket, bad), RangeError, `${bad}`);
    assert.throws(() => findLink(here.socket, bad), RangeError, `${bad}`);
  }
  for (const name of ['', 'a name', 'sixteen-letters-x', 'a/b', '.']) {
    assert.throws(() => createBridge(here.socket, { name }), RangeError, name);
  }
});

test('listLinks returns all links when they need several datagrams', () => {
  using here = sandbox();
  for (let i = 0; i < 100; i++) createBridge(here.socket, { name: `bridge${i}` });
  assert.equal(listLinks(here.socket).length, 101);
});

test('requests about links leave no descriptor open', () => {
  withoutFdLeak(() => {
    using here = sandbox();
    listLinks(here.socket);
    assert.throws(() => changeLink(here.socket, 4711, { up: true }));
  });
});
