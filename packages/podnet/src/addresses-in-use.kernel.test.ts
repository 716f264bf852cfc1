import assert from 'node:assert/strict';
import { unlinkSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  addAddress,
  addRoute,
  createVeth,
  deleteNamespace,
  findLink,
  NetlinkSocket,
  NetworkNamespace,
} from '@heddle/netlink';
import { nodePlatform } from '@heddle/sys/node';
import { addressesInUse, prepareNamespace } from './index.ts';

const platform = nodePlatform();

test('addresses of the node, of its host routes and of mounted namespaces are in use', () => {
  using node = NetworkNamespace.create(platform);
  prepareNamespace(platform, node);
  const path = `/run/netns/in-use-${process.pid}`;
  const noNamespace = `${path}-file`;
  writeFileSync(noNamespace, '');
  try {
    using pod = NetworkNamespace.create(platform, path);
    using socket = node.enter(() => new NetlinkSocket(platform));
    const { link, peer } = createVeth(
      socket,
      { name: 'cni0', up: true },
      { name: 'eth0', namespaceFd: pod.fd, up: true },
    );
    addAddress(socket, link.index, '10.7.0.1/24');
    addRoute(socket, { destination: '10.7.0.9/32', link: link.index });
    addRoute(socket, { destination: '10.8.0.0/24', link: link.index });
    addRoute(socket, { destination: 'fd00:7::9/128', link: link.index });
    using inside = pod.enter(() => new NetlinkSocket(platform));
    addAddress(inside, peer.index, '10.7.0.5/24');
    addAddress(inside, findLink(inside, 'eth0')!.index, 'fd00:7::5/64');

    const used = node.enter(() => addressesInUse(platform, socket));
    for (const address of ['10.7.0.1', '10.7.0.9', 'fd00:7::9', '10.7.0.5', 'fd00:7::5']) {
      assert.ok(used.has(address), address);
    }
    assert.ok(!used.has('10.8.0.0'), 'a route to a range is no address');
    deleteNamespace(platform, path);
    pod[Symbol.dispose]();
    inside[Symbol.dispose]();
    const later = node.enter(() => addressesInUse(platform, socket));
    assert.ok(!later.has('10.7.0.5'));
  } finally {
    deleteNamespace(platform, path);
    unlinkSync(noNamespace);
  }
});
