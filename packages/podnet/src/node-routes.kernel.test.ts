import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  addAddress,
  addRoute,
  changeLink,
  createVeth,
  createVxlan,
  deleteLink,
  findLink,
  listAddresses,
  listRoutes,
  NetlinkSocket,
  NetworkNamespace,
  removeRoute,
} from '@heddle/netlink';
import { nodePlatform } from '@heddle/sys/node';
import {
  ensureTunnelDevice,
  NodeRoutes,
  prepareNamespace,
  removeTunnelDevice,
  routeProtocol,
  tunnelName,
} from './index.ts';

const platform = nodePlatform();
const device = { port: 8472, mtu: 1450, addresses: ['10.7.1.1', 'fd00:7:1::1'] };

/** A node with one link, and what a test does in its network namespace. */
class Node implements Disposable {
  readonly namespace = NetworkNamespace.create(platform);
  readonly socket = this.namespace.enter(() => new NetlinkSocket(platform));
  readonly link: number;

  constructor() {
    prepareNamespace(platform, this.namespace);
    const pair = createVeth(this.socket, { name: 'eth0', up: true }, { name: 'wire', up: true });
    this.link = pair.link.index;
    addAddress(this.socket, this.link, '192.0.2.1/24');
    addAddress(this.socket, this.link, 'fd00:2::1/64');
  }

  ensure(wanted = device) {
    return this.namespace.enter(() => ensureTunnelDevice(platform, this.socket, wanted));
  }

  get tunnelAddresses(): string[] {
    const { index } = findLink(this.socket, tunnelName)!;
    return listAddresses(this.socket, index).map((each) => `${each.address}/${each.prefixLength}`);
  }

  /** The routes of the pod network as text. */
  get routes(): string[] {
    return listRoutes(this.socket)
      .filter(({ protocol }) => protocol === routeProtocol)
      .map(({ destination, via, encap, source }) =>
        [destination, via ?? encap?.destination, source ?? 'any'].join(' '),
      )
      .sort();
  }

  [Symbol.dispose](): void {
    this.socket[Symbol.dispose]();
    this.namespace[Symbol.dispose]();
  }
}

test('the tunnel device has its settings, and stays as it is when nothing differs', () => {
  using node = new Node();
  const { index, address } = node.ensure();
  assert.deepEqual(node.tunnelAddresses, ['10.7.1.1/32', 'fd00:7:1::1/128']);
  const found = findLink(node.socket, tunnelName)!;
  assert.deepEqual([found.up, found.mtu, found.vxlan], [true, 1450, { port: 8472 }]);
  const again = node.ensure();
  assert.deepEqual([again.index, again.address], [index, address]);
});

test('tunnel devices of two nodes have different link-layer addresses', () => {
  using first = new Node();
  using second = new Node();
  assert.notEqual(first.ensure().address, second.ensure().address);
});

test('what others change of the tunnel device is changed back', () => {
  using node = new Node();
  const { index } = node.ensure();
  changeLink(node.socket, index, { up: false, mtu: 1300, arp: true });
  addAddress(node.socket, index, '10.9.9.9/32');
  node.ensure({ ...device, mtu: 1400, addresses: ['10.7.1.1'] });
  const found = findLink(node.socket, tunnelName)!;
  assert.deepEqual(
    [found.index, found.up, found.mtu, found.flags & 0x80],
    [index, true, 1400, 0x80],
  );
  assert.deepEqual(node.tunnelAddresses, ['10.7.1.1/32']);
  node.ensure({ ...device, port: 8500 });
  assert.deepEqual(findLink(node.socket, tunnelName)!.vxlan, { port: 8500 });
  createVeth(node.socket, { name: 'x' }, { name: 'y' });
  deleteLink(node.socket, findLink(node.socket, tunnelName)!.index);
  changeLink(node.socket, findLink(node.socket, 'x')!.index, { name: tunnelName });
  assert.equal(node.ensure().kind, 'vxlan');
  assert.equal(removeTunnelDevice(node.socket), true);
  assert.equal(removeTunnelDevice(node.socket), false);
});

test('a taken UDP port is an error with the remedy, and leaves no device behind', () => {
  using node = new Node();
  createVxlan(node.socket, { name: 'other', up: true }, { port: 8472 });
  assert.throws(() => node.ensure(), {
    message: /another program has UDP port 8472 \(set tunnelPort to another port, on all nodes\)/,
  });
  assert.equal(findLink(node.socket, tunnelName), undefined);
});

test('routes to nodes are set, changed, moved to another node, and removed', () => {
  using node = new Node();
  const tunnel = node.ensure().index;
  const { socket, link } = node;
  const routes = new NodeRoutes();
  const direct = { destination: '10.7.2.0/24', via: '192.0.2.2', link };
  const tunnelled = {
    ...{ destination: 'fd00:7:2::/64', link: tunnel, source: 'fd00:7:1::1' },
    ...{ tunnelTo: '198.51.100.2', tunnelFrom: '192.0.2.1' },
  };
  routes.set(socket, 'n2', [direct, tunnelled]);
  const both = ['10.7.2.0/24 192.0.2.2 any', 'fd00:7:2::/64 198.51.100.2 fd00:7:1::1'];
  assert.deepEqual(node.routes, both);
  routes.set(socket, 'n2', [direct, tunnelled]);
  assert.deepEqual(node.routes, both);
  routes.set(socket, 'n2', [{ ...tunnelled, destination: '10.7.2.0/24', source: '10.7.1.1' }]);
  assert.deepEqual(node.routes, ['10.7.2.0/24 198.51.100.2 10.7.1.1']);
  routes.set(socket, 'n3', [{ ...direct, via: '192.0.2.3' }]);
  assert.deepEqual(node.routes, ['10.7.2.0/24 192.0.2.3 any']);
  routes.remove(socket, 'n2');
  assert.deepEqual(node.routes, ['10.7.2.0/24 192.0.2.3 any'], 'the new owner keeps it');
  routes.remove(socket, 'n3');
  assert.deepEqual(node.routes, []);
});

test('pruning removes what an earlier process has left, and nothing of others', () => {
  using node = new Node();
  const { socket, link } = node;
  new NodeRoutes().set(socket, 'gone', [{ destination: '10.7.9.0/24', via: '192.0.2.9', link }]);
  addRoute(socket, { destination: '10.8.0.0/16', via: '192.0.2.8', link });
  const routes = new NodeRoutes();
  routes.set(socket, 'n2', [{ destination: '10.7.2.0/24', via: '192.0.2.2', link }]);
  assert.equal(node.routes.length, 2, 'nothing is removed before');
  routes.prune(socket);
  assert.deepEqual(node.routes, ['10.7.2.0/24 192.0.2.2 any']);
  assert.ok(listRoutes(socket).some(({ destination }) => destination === '10.8.0.0/16'));
});

test('routes that others remove or replace are repaired', () => {
  using node = new Node();
  const { socket, link } = node;
  const tunnel = node.ensure().index;
  const routes = new NodeRoutes();
  routes.set(socket, 'n2', [
    { destination: '10.7.2.0/24', via: '192.0.2.2', link },
    { destination: '10.7.3.0/24', link: tunnel, tunnelTo: 'fd00:3::2', source: '10.7.1.1' },
  ]);
  const all = node.routes;
  assert.equal(routes.repair(socket), 0);
  for (const destination of ['10.7.2.0/24', '10.7.3.0/24']) {
    removeRoute(socket, { destination, protocol: routeProtocol });
  }
  assert.equal(routes.repair(socket), 2);
  assert.deepEqual(node.routes, all);
});
