// Pods of another network on a node on which Heddle connects pods, too.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  addAddress,
  addProxyNeighbour,
  addRoute,
  changeLink,
  createBridge,
  createVeth,
  deleteLink,
  deleteNamespace,
  findLink,
  listProxyNeighbours,
  NetlinkSocket,
  NetworkNamespace,
} from '@heddle/netlink';
import { assertReaches } from '@heddle/podnet/testing/host';
import { nodePlatform } from '@heddle/sys/node';
import { eventually } from '@heddle/sys/testing/eventually';
import { PodsNode } from '../../../testing/pods-node.ts';

const platform = nodePlatform();

/** A pod of another network; container runtimes mount the namespaces of pods. */
class OtherPod implements Disposable {
  readonly namespace: NetworkNamespace;
  readonly socket: NetlinkSocket;
  readonly #path = `/run/netns/other-networks-${process.pid}`;

  /** Connects the pod as the plug-in `ptp` does, or to a bridge as `bridge` does. */
  constructor(node: PodsNode, prefixes: readonly string[], bridge?: number) {
    this.namespace = NetworkNamespace.create(platform, this.#path);
    this.socket = this.namespace.enter(() => new NetlinkSocket(platform));
    const { link, peer } = createVeth(
      node.socket,
      { name: 'veth1', up: true },
      { name: 'eth0', namespaceFd: this.namespace.fd, up: true },
    );
    if (bridge !== undefined) changeLink(node.socket, link.index, { master: bridge });
    for (const prefix of prefixes) addAddress(this.socket, peer.index, prefix);
  }

  [Symbol.dispose](): void {
    this.socket[Symbol.dispose]();
    this.namespace[Symbol.dispose]();
    deleteNamespace(platform, this.#path);
  }
}

const used = (node: PodsNode) => node.status.addresses.map((family) => family.used);
const given = (node: PodsNode) => node.attachments.flatMap(({ addresses }) => addresses);

test('addresses of others on the node are not given away until they are free', async () => {
  using node = new PodsNode();
  using _other = new OtherPod(node, ['10.7.0.2/24', '10.9.0.2/24']);
  const veth = findLink(node.socket, 'veth1')!.index;
  addRoute(node.socket, { destination: 'fd00:7::3/128', link: veth });
  node.restart();
  assert.deepEqual(used(node), [1, 1]);
  using pod = node.pod('c1');
  await node.add(pod);
  assert.deepEqual(given(node), ['10.7.0.4', 'fd00:7::4']);
  deleteLink(node.socket, veth);
  node.restart();
  assert.deepEqual(used(node), [1, 1]);
  assert.deepEqual(given(node), ['10.7.0.4', 'fd00:7::4']);
});

test("pods on another network's bridge and pods beside it reach each other", async () => {
  using node = new PodsNode();
  const bridge = createBridge(node.socket, { name: 'cni0', up: true }).index;
  for (const prefix of ['10.7.0.1/24', 'fd00:7::1/64']) addAddress(node.socket, bridge, prefix);
  using other = new OtherPod(node, ['10.7.0.2/24', 'fd00:7::2/64'], bridge);
  node.restart();
  using pod = node.pod('c1');
  await node.add(pod);
  for (const address of given(node)) await assertReaches(other, pod, address);
  for (const address of ['10.7.0.2', 'fd00:7::2']) await assertReaches(pod, other, address);

  // What the node answers for on the bridge, no pod on the bridge could have.
  const answered = () => listProxyNeighbours(node.socket, bridge);
  assert.deepEqual(answered(), given(node));
  await node.remove(pod);
  await eventually('the address is free', () => node.status.count === 0);
  assert.deepEqual(answered(), []);

  // An agent that was away observes no removal.
  for (const address of ['10.7.0.9', '192.0.2.9']) addProxyNeighbour(node.socket, bridge, address);
  node.restart();
  assert.deepEqual(answered(), ['192.0.2.9'], 'what is not of the ranges is not touched');
});
