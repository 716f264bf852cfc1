import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addAddress, addRoute, changeLink, createBridge, createVeth } from '@heddle/netlink';
import { nodePlatform } from '@heddle/sys/node';
import { assertReaches, Host } from '../testing/host.ts';
import { answerOnBridges, createPodInterface, leaveBridges, listRangeBridges } from './index.ts';

const platform = nodePlatform();

/** Returns a node with the bridge of another network, and a pod on that bridge. */
function openBridged(): { node: Host; bridged: Host } & Disposable {
  const [node, bridged] = [new Host(), new Host()];
  node.namespace.setSysctl('net/ipv4/ip_forward', 1);
  node.namespace.setSysctl('net/ipv6/conf/all/forwarding', 1);
  const bridge = createBridge(node.socket, { name: 'cni0', up: true });
  for (const prefix of ['10.7.0.1/24', 'fd00:7::1/64']) {
    addAddress(node.socket, bridge.index, prefix);
  }
  const { link, peer } = createVeth(
    node.socket,
    { name: 'veth1', up: true },
    { name: 'eth0', namespaceFd: bridged.namespace.fd, up: true },
  );
  changeLink(node.socket, link.index, { master: bridge.index });
  for (const prefix of ['10.7.0.5/24', 'fd00:7::5/64']) {
    addAddress(bridged.socket, peer.index, prefix);
  }
  addRoute(bridged.socket, { destination: '0.0.0.0/0', via: '10.7.0.1', link: peer.index });
  addRoute(bridged.socket, { destination: '::/0', via: 'fd00:7::1', link: peer.index });
  return {
    ...{ node, bridged },
    [Symbol.dispose]() {
      node[Symbol.dispose]();
      bridged[Symbol.dispose]();
    },
  };
}

test('pods on a bridge of another network and pods beside it reach each other', async () => {
  using hosts = openBridged();
  const { node, bridged } = hosts;
  using pod = new Host();
  const addresses = ['10.7.0.9', 'fd00:7::9'];
  node.namespace.enter(() =>
    createPodInterface(platform, node.socket, pod.namespace, {
      ...{ name: 'hd9', podName: 'eth0', podMac: '02:00:00:00:00:09', mtu: 1500 },
      addresses: addresses.map((address) => ({ address })),
    }),
  );
  const bridges = listRangeBridges(node.socket);
  assert.deepEqual(
    bridges.map(({ name }) => name),
    ['cni0', 'cni0'],
  );
  node.namespace.enter(() => {
    for (const address of addresses) {
      answerOnBridges(platform, node.socket, bridges, address);
      answerOnBridges(platform, node.socket, bridges, address);
    }
    answerOnBridges(platform, node.socket, bridges, '10.8.0.9');
  });
  for (const address of addresses) await assertReaches(bridged, pod, address);
  for (const address of ['10.7.0.5', 'fd00:7::5']) await assertReaches(pod, bridged, address);
  for (const address of [...addresses, ...addresses]) leaveBridges(node.socket, bridges, address);
});
