import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServerList } from './server-list.ts';

const server = (host: string, isTls = true) => ({ host, port: 6443, isTls, path: '' });
const hosts = (list: ServerList) => list.order().map((each) => each.host);

test('configured servers come first, then discovered ones, then the service address', () => {
  const list = new ServerList({ servers: [server('a'), server('b')], lastResort: server('vip') });
  assert.deepEqual(hosts(list), ['a', 'b', 'vip']);
  list.setDiscovered([
    { host: 'c', port: 6443 },
    { host: 'b', port: 6443 },
  ]);
  assert.deepEqual(hosts(list), ['a', 'b', 'c', 'vip']);
  const [, b, c] = list.order();
  assert.equal(b!.serverName, undefined, 'known by the name it was configured with');
  assert.equal(c!.serverName, 'kubernetes.default.svc');
});

test('a working server is kept, and a failed one is tried last', () => {
  const list = new ServerList({ servers: [server('a'), server('b')], lastResort: server('vip') });
  list.succeeded(list.order()[1]!);
  assert.deepEqual(hosts(list), ['b', 'vip', 'a']);
  const [b] = list.order();
  list.failed(b!);
  assert.deepEqual(hosts(list), ['vip', 'a', 'b']);
  list.failed(b!);
  assert.equal(list.current.host, 'vip', 'one that is not in use may fail without effect');
});

test('a change of the discovered servers keeps the one in use, if it is still among them', () => {
  const list = new ServerList({ servers: [server('a')] });
  const discover = (...all: string[]) =>
    list.setDiscovered(all.map((host) => ({ host, port: 6443 })));
  discover('b', 'c');
  list.succeeded(list.order()[2]!);
  discover('c', 'd');
  assert.deepEqual(hosts(list), ['c', 'd', 'a']);
  const [gone] = list.order();
  discover('d');
  assert.deepEqual(hosts(list), ['a', 'd']);
  list.succeeded(gone!);
  list.failed(gone!);
  assert.deepEqual(hosts(list), ['a', 'd']);
});

test('discovered endpoints are not used beside a server without TLS', () => {
  const list = new ServerList({ servers: [server('localhost', false)] });
  list.setDiscovered([{ host: 'b', port: 6443 }]);
  assert.deepEqual(hosts(list), ['localhost']);
});
