import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  addAddress,
  findLink,
  listAddresses,
  listLinks,
  listNeighbours,
  listRoutes,
  NetlinkSocket,
  NetworkNamespace,
} from '@heddle/netlink';
import { checked, closeFd, syscallNumbers } from '@heddle/sys';
import { AF_INET, AF_INET6, encodeSockaddr, MSG_DONTWAIT, SOCK_DGRAM } from '@heddle/sys/net';
import { nodePlatform } from '@heddle/sys/node';
import { eventually } from '@heddle/sys/testing/eventually';
import {
  createPodInterface,
  type PodInterface,
  prepareNamespace,
  removePodInterface,
} from './index.ts';

const platform = nodePlatform();
const nr = syscallNumbers(platform);
const mac = '02:68:65:64:64:01';

/** A network namespace, and a socket in it. */
class Host implements Disposable {
  readonly namespace = NetworkNamespace.create(platform);
  readonly socket = this.namespace.enter(() => new NetlinkSocket(platform));

  constructor() {
    prepareNamespace(platform, this.namespace);
  }

  [Symbol.dispose](): void {
    this.socket[Symbol.dispose]();
    this.namespace[Symbol.dispose]();
  }
}

const podOf = (number: number): PodInterface => ({
  name: `hd${number}`,
  podName: 'eth0',
  mac,
  podMac: `02:00:00:00:00:0${number}`,
  mtu: 1400,
  addresses: [
    { address: `10.7.0.${number}`, source: '192.0.2.1' },
    { address: `fd00:7::${number}`, source: 'fd00::1' },
  ],
});

/** Returns a node with the addresses that are the sources of its routes. */
function openNode(): Host {
  const node = new Host();
  node.namespace.setSysctl('net/ipv4/ip_forward', 1);
  node.namespace.setSysctl('net/ipv6/conf/all/forwarding', 1);
  const { index } = findLink(node.socket, 'lo')!;
  for (const prefix of ['192.0.2.1/32', 'fd00::1/128']) addAddress(node.socket, index, prefix);
  return node;
}

/**
 * Sends datagrams from one host to an address of another until one arrives: the kernel drops those
 * that are sent before it has noticed that a new link has a carrier.
 */
async function assertReaches(from: Host, to: Host, address: string): Promise<void> {
  const family = address.includes(':') ? AF_INET6 : AF_INET;
  const udp = (host: Host) =>
    host.namespace.enter(() =>
      checked('socket', platform.syscall(nr.socket, family, SOCK_DGRAM, 0)),
    );
  const [sender, receiver] = [udp(from), udp(to)];
  try {
    const name = encodeSockaddr({ address, port: 7000 });
    checked('bind', platform.syscall(nr.bind, receiver, name, name.length));
    const bytes = Uint8Array.of(1);
    await eventually(`a datagram arrives at ${address}`, () => {
      checked('sendto', platform.syscall(nr.sendto, sender, bytes, 1, 0, name, name.length));
      return platform.syscall(nr.recvfrom, receiver, bytes, 1, MSG_DONTWAIT, 0, 0) === 1;
    });
  } finally {
    closeFd(platform, sender);
    closeFd(platform, receiver);
  }
}

test('pods and their node reach each other in both families', async () => {
  using node = openNode();
  using first = new Host();
  using second = new Host();
  createPodInterface(node.socket, first.namespace.fd, podOf(1));
  createPodInterface(node.socket, second.namespace.fd, podOf(2));
  for (const [from, to, addresses] of [
    [first, second, ['10.7.0.2', 'fd00:7::2']],
    [second, first, ['10.7.0.1', 'fd00:7::1']],
    [node, first, ['10.7.0.1', 'fd00:7::1']],
    [second, node, ['192.0.2.1', 'fd00::1']],
  ] as const) {
    for (const address of addresses) await assertReaches(from, to, address);
  }
});

test('createPodInterface sets both ends, addresses, routes and permanent neighbours', () => {
  using node = openNode();
  using pod = new Host();
  const { link, peer } = createPodInterface(node.socket, pod.namespace.fd, {
    ...podOf(1),
    routeMtu: 1300,
  });
  const ends = [link, peer].map((end) => [end.name, end.address, end.mtu, end.up]);
  assert.deepEqual(ends, [
    ['hd1', mac, 1400, true],
    ['eth0', '02:00:00:00:00:01', 1400, true],
  ]);
  const addresses = (host: Host, index: number) =>
    listAddresses(host.socket, index).map((each) => `${each.address}/${each.prefixLength}`);
  assert.deepEqual(addresses(pod, peer.index), ['10.7.0.1/32', 'fd00:7::1/128']);
  assert.deepEqual(addresses(node, link.index), ['fe80::1/128']);
  const neighbours = (host: Host) =>
    listNeighbours(host.socket)
      .filter(({ permanent }) => permanent)
      .map(({ address, lladdr }) => `${address} ${lladdr}`);
  assert.deepEqual(neighbours(pod), [`169.254.1.1 ${mac}`, `fe80::1 ${mac}`]);
  assert.deepEqual(neighbours(node), ['10.7.0.1 02:00:00:00:00:01', 'fd00:7::1 02:00:00:00:00:01']);
  const routes = (host: Host, index: number) =>
    listRoutes(host.socket)
      .filter(({ link, destination }) => link === index && destination !== 'fe80::1/128')
      .map(({ destination, via, source, mtu }) => ({ destination, via, source, mtu }));
  const none = { via: undefined, source: undefined, mtu: undefined };
  assert.deepEqual(routes(pod, peer.index), [
    { ...none, destination: '0.0.0.0/0', via: '169.254.1.1' },
    { ...none, destination: 'fd00:7::1/128' },
    { ...none, destination: '::/0', via: 'fe80::1' },
  ]);
  assert.deepEqual(routes(node, link.index), [
    { ...none, destination: '10.7.0.1/32', source: '192.0.2.1', mtu: 1300 },
    { ...none, destination: 'fd00:7::1/128', source: 'fd00::1', mtu: 1300 },
  ]);
});

test('a pod with one family has no route of the other', () => {
  using node = openNode();
  using pod = new Host();
  const { addresses, ...rest } = podOf(1);
  createPodInterface(node.socket, pod.namespace.fd, { ...rest, addresses: addresses.slice(0, 1) });
  const destinations = listRoutes(pod.socket).map(({ destination }) => destination);
  assert.deepEqual(destinations, ['0.0.0.0/0']);
});

test('createPodInterface leaves no link behind when it fails', () => {
  using node = openNode();
  using pod = new Host();
  const { addresses, ...rest } = podOf(1);
  const bad = { ...rest, addresses: [addresses[0]!, { address: 'fd00:7::1', source: 'fd00::9' }] };
  assert.throws(() => createPodInterface(node.socket, pod.namespace.fd, bad), {
    name: 'NetlinkError',
  });
  for (const host of [node, pod]) {
    assert.deepEqual(
      listLinks(host.socket).map(({ name }) => name),
      ['lo'],
    );
  }
});

test('removePodInterface removes both ends with their routes, and returns false for a missing one', () => {
  using node = openNode();
  using pod = new Host();
  createPodInterface(node.socket, pod.namespace.fd, podOf(1));
  assert.equal(removePodInterface(node.socket, 'hd1'), true);
  assert.equal(removePodInterface(node.socket, 'hd1'), false);
  assert.equal(findLink(pod.socket, 'eth0'), undefined);
  const left = listRoutes(node.socket).filter(({ destination }) =>
    /^(10\.7|fd00:7)/.test(destination),
  );
  assert.deepEqual(left, []);
});
