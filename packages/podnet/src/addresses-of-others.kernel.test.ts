import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { test } from 'node:test';
import { addAddress, addRoute, createVeth, type LinkPair } from '@heddle/netlink';
import { nodePlatform } from '@heddle/sys/node';
import { Host } from '../testing/host.ts';
import { addressesOfOthers } from './index.ts';

const platform = nodePlatform();

/** Connects a pod to a node, and gives the pod an address. */
function connect(node: Host, pod: Host, name: string, prefix: string): LinkPair {
  const pair = createVeth(
    node.socket,
    { name, up: true },
    { name: 'eth0', namespaceFd: pod.namespace.fd, up: true },
  );
  addAddress(pod.socket, pair.peer.index, prefix);
  return pair;
}

test('the node, host routes and namespaces behind links have addresses that are not free', () => {
  using node = new Host();
  mkdirSync('/run/netns', { recursive: true });
  const path = `/run/netns/others-${process.pid}`;
  using other = new Host(`${path}-1`);
  using own = new Host(`${path}-2`);
  using elsewhere = new Host(`${path}-3`);
  const { link } = connect(node, other, 'veth1', '10.7.0.5/24');
  addAddress(other.socket, 1, 'fd00:7::5/64');
  const mine = connect(node, own, 'hd1', '10.7.0.6/32').link;
  addAddress(elsewhere.socket, 1, '10.7.0.7/24');
  addAddress(node.socket, link.index, '10.7.0.1/24');
  for (const destination of ['10.7.0.9/32', '10.8.0.0/24', 'fd00:7::9/128']) {
    addRoute(node.socket, { destination, link: link.index });
  }
  addRoute(node.socket, { destination: '10.7.0.6/32', link: mine.index });

  const found = node.namespace.enter(() =>
    addressesOfOthers(platform, node.socket, ({ name }) => name.startsWith('hd')),
  );
  const inRange = [...found].filter((address) => /^(10\.|fd00:)/.test(address));
  assert.deepEqual(inRange.sort(), ['10.7.0.1', '10.7.0.5', '10.7.0.9', 'fd00:7::5', 'fd00:7::9']);
});
