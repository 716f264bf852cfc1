import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { BlockingSocket, type LabNode } from '@heddle/lab';
import { addAddress, deleteLink, listRoutes, removeRoute } from '@heddle/netlink';
import { routeProtocol, tunnelName } from '@heddle/podnet';
import { NodeNetworkLab } from '../testing/node-network-lab.ts';
import { assertReaches, exchange } from '../testing/traffic/reachability.ts';

const families = ['v4', 'v6'] as const;

/** Returns the routes of a node to pods of others, as `DESTINATION NEXT-HOP`. */
function routesOf(node: LabNode): string[] {
  return node.configure((socket) =>
    listRoutes(socket)
      .filter(({ protocol }) => protocol === routeProtocol)
      .map(({ destination, via, encap }) => `${destination} ${via ?? encap?.destination}`)
      .sort(),
  );
}

describe('routes to other nodes, of which the third is behind a router', () => {
  let network: NodeNetworkLab;
  before(async () => {
    network = new NodeNetworkLab('paths', { nodes: 3, farFrom: 3 });
    await network.start();
  });
  after(() => network?.[Symbol.dispose]());

  const routed = async (node: number, what: string, expected: readonly string[]) =>
    await network.until(what, () => routesOf(network.node(node)).join() === expected.join());
  const toNode2 = ['10.244.2.0/24 192.0.2.2', 'fd00:10:244:2::/64 fd00:192:0:2::2'];
  const toNode3 = ['10.244.3.0/24 198.51.100.3', 'fd00:10:244:3::/64 198.51.100.3'];

  test('lead directly to nodes on the link and into the tunnel elsewhere, for pods and processes', async () => {
    const entries = await network.nodes(network.node(1));
    assert.deepEqual(
      entries.map(({ name, mode, status, problems }) => ({ name, mode, status, problems })),
      [
        { name: 'node2', mode: 'direct', status: 'done', problems: [] },
        { name: 'node3', mode: 'tunnel', status: 'done', problems: [] },
      ],
    );
    assert.deepEqual(routesOf(network.node(1)), [...toNode2, ...toNode3].sort());
    for (const family of families) {
      for (const [from, to] of [
        [1, 2],
        [2, 1],
        [1, 3],
        [3, 1],
        [3, 2],
      ] as const) {
        exchange(network.pod(from), network.pod(to), family, { bytes: 500_000 });
        assertReaches(network.pod(from), network.pod(to), family);
        assertReaches(network.node(from), network.pod(to), family);
      }
    }
  });

  test('follow nodes that go, come, and change their ranges, while connections to others go on', async () => {
    using connection = connect(network);
    network.setNode(network.node(2), undefined);
    await routed(1, 'the routes to a removed node to go', toNode3);
    assert.equal((await network.nodes(network.node(1))).length, 1);
    echo(connection, 'after a node has gone');
    network.setNode(network.node(2), { podCIDRs: ['10.250.2.0/24', 'fd00:10:244:2::/64'] });
    const moved = ['10.250.2.0/24 192.0.2.2', toNode2[1]!];
    await routed(1, 'the routes to the new ranges', [...moved, ...toNode3].sort());
    network.setNode(network.node(2), {});
    await routed(1, 'the routes to the former ranges', [...toNode2, ...toNode3].sort());
    echo(connection, 'after another node has changed');
    await routed(2, 'the routes of the changed node', [
      ...['10.244.1.0/24 192.0.2.1', '10.244.3.0/24 198.51.100.3'],
      ...['fd00:10:244:1::/64 fd00:192:0:2::1', 'fd00:10:244:3::/64 198.51.100.3'],
    ]);
    for (const family of families)
      exchange(network.pod(1), network.pod(2), family, { bytes: 1000 });
  });

  test('follow a node that changes its address, while connections to its pods go on', async () => {
    using connection = connect(network);
    const node = network.node(3);
    const other = '198.51.100.33';
    node.configure((socket) => addAddress(socket, node.link('eth0').index, `${other}/24`));
    network.setNode(node, { addresses: [other, node.addresses.v6] });
    const changed = toNode3.map((route) => `${route.split(' ')[0]} ${other}`);
    for (const number of [1, 2]) {
      await network.until(`node ${number} to send to the new address`, () =>
        changed.every((route) => routesOf(network.node(number)).includes(route)),
      );
    }
    await network.settled(node);
    await network.until('packets to pass again', () => {
      echo(connection, 'to the new address');
      return true;
    });
    network.setNode(node, {});
    await routed(1, 'the routes to the former address', [...toNode2, ...toNode3].sort());
    echo(connection, 'to the former address');
  });

  test('are repaired after others have removed routes and the tunnel device', async () => {
    const node = network.node(1);
    const all = routesOf(node);
    node.configure((socket) => {
      removeRoute(socket, { destination: '10.244.2.0/24', protocol: routeProtocol });
    });
    await routed(1, 'the removed route', all);
    node.configure((socket) => deleteLink(socket, node.link(tunnelName).index));
    await routed(1, 'the routes into the tunnel', all);
    await network.until('the program of the tunnel device', async () =>
      (await network.status(node)).datapath.links.some(
        ({ hook, attached }) => hook === `from_tunnel@${tunnelName}` && attached,
      ),
    );
    for (const family of families) {
      exchange(network.pod(1), network.pod(3), family, { bytes: 1000 });
      exchange(network.pod(3), network.pod(1), family, { bytes: 1000 });
    }
  });

  test('stay while no agent runs, and the next one changes nothing', async () => {
    const node = network.node(1);
    const all = routesOf(node);
    const { index } = node.link(tunnelName);
    await network.kill(node);
    for (const family of families)
      exchange(network.pod(1), network.pod(3), family, { bytes: 1000 });
    await network.startOn(node);
    assert.deepEqual(routesOf(node), all);
    assert.equal(node.link(tunnelName).index, index);
    await network.kill(node);
    await network.startOn(node, '--routing', 'tunnel');
    await routed(
      1,
      'routes into the tunnel only',
      [...['10.244.2.0/24 192.0.2.2', ...toNode3, 'fd00:10:244:2::/64 192.0.2.2']].sort(),
    );
    const entries = await network.nodes(node);
    assert.deepEqual(
      entries.map(({ mode, paths }) => [mode, paths[0]?.reason]),
      [
        ['tunnel', 'routing is tunnel'],
        ['tunnel', 'routing is tunnel'],
      ],
    );
    // The other node still sends directly: each accepts both.
    for (const family of families)
      exchange(network.pod(1), network.pod(2), family, { bytes: 1000 });
  });
});

/** Two ends of a connection from the first node's pod to that of the third. */
interface Connection extends Disposable {
  readonly ends: readonly [BlockingSocket, BlockingSocket];
}

function connect(network: NodeNetworkLab): Connection {
  const [from, to] = [network.pod(1), network.pod(3)];
  const open = (host: typeof from) =>
    host.enter(() =>
      BlockingSocket.open(host.platform, { protocol: 'tcp', family: 4, timeoutMs: 10_000 }),
    );
  using listener = open(to);
  const at = { address: to.addresses.v4, port: 7002 };
  listener.bind(at);
  listener.listen();
  const client = open(from);
  client.connect(at);
  const server = listener.accept();
  return {
    ends: [client, server],
    [Symbol.dispose]() {
      client[Symbol.dispose]();
      server[Symbol.dispose]();
    },
  };
}

/** Sends a text over a connection and back. */
function echo({ ends: [client, server] }: Connection, text: string): void {
  for (const [sender, receiver] of [
    [client, server],
    [server, client],
  ] as const) {
    sender.send(text);
    assert.equal(Buffer.from(receiver.receive()).toString(), text);
  }
}
