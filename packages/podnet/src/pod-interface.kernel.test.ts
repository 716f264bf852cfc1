import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  addAddress,
  deleteNamespace,
  findLink,
  isNetlinkError,
  type LinkPair,
  listAddresses,
  listLinks,
  listNeighbours,
  listRoutes,
} from '@heddle/netlink';
import { nodePlatform } from '@heddle/sys/node';
import { assertReaches, Host } from '../testing/host.ts';
import {
  bigTcpSize,
  changeMtu,
  createPodInterface,
  type PodInterface,
  PodLinkExists,
  removePodInterface,
} from './index.ts';

const platform = nodePlatform();
const mac = '02:68:65:64:64:01';

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

/** Connects a pod, from inside the node's namespace as the agent does. */
function connect(
  node: Host,
  pod: Host,
  settings: PodInterface,
  program?: (pair: LinkPair) => void,
): LinkPair {
  return node.namespace.enter(() =>
    createPodInterface(platform, node.socket, pod.namespace, settings, program),
  );
}

/** Returns a setting below /proc/sys/net in a host's namespace. */
function sysctl(host: Host, name: string): string {
  return host.namespace.enter(() => readFileSync(`/proc/sys/net/${name}`, 'utf8').trim());
}

/** Returns a node with the addresses that are the sources of its routes. */
function openNode(): Host {
  const node = new Host();
  node.namespace.setSysctl('net/ipv4/ip_forward', 1);
  node.namespace.setSysctl('net/ipv6/conf/all/forwarding', 1);
  const { index } = findLink(node.socket, 'lo')!;
  for (const prefix of ['192.0.2.1/32', 'fd00::1/128']) addAddress(node.socket, index, prefix);
  return node;
}

test('pods and their node reach each other in both families', async () => {
  using node = openNode();
  using first = new Host();
  using second = new Host();
  connect(node, first, podOf(1));
  connect(node, second, podOf(2));
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
  const { link, peer } = connect(node, pod, {
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
  assert.deepEqual(addresses(node, link.index), ['fe80::1/64']);
  const neighbours = (host: Host) =>
    listNeighbours(host.socket)
      .filter(({ permanent }) => permanent)
      .map(({ address, lladdr }) => `${address} ${lladdr}`);
  assert.deepEqual(neighbours(pod), [`169.254.1.1 ${mac}`, `fe80::1 ${mac}`]);
  assert.deepEqual(neighbours(node), ['10.7.0.1 02:00:00:00:00:01', 'fd00:7::1 02:00:00:00:00:01']);
  const routes = (host: Host, index: number) =>
    listRoutes(host.socket)
      .filter(({ link, destination }) => link === index && !destination.startsWith('fe80:'))
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
  connect(node, pod, { ...rest, addresses: addresses.slice(0, 1) });
  const destinations = listRoutes(pod.socket).map(({ destination }) => destination);
  assert.deepEqual(destinations, ['0.0.0.0/0']);
});

test('the alias is set, and no packet leaves the pod, when program is called', () => {
  using node = openNode();
  using pod = new Host();
  connect(node, pod, { ...podOf(1), alias: 'pod default/web' }, ({ link, peer }) => {
    const now = findLink(node.socket, link.index)!;
    assert.deepEqual([now.alias, now.up], ['pod default/web', true]);
    assert.equal(findLink(pod.socket, peer.index)!.up, false);
    assert.equal(listAddresses(pod.socket, peer.index).length, 2);
  });
});

test('the settings of the ends are those that pods need', () => {
  using node = openNode();
  using both = new Host();
  using v4 = new Host();
  v4.namespace.setSysctl('net/ipv4/tcp_tw_reuse', 0);
  both.namespace.setSysctl('net/ipv6/conf/default/disable_ipv6', 1);
  connect(node, both, podOf(1));
  connect(node, v4, { ...podOf(2), addresses: podOf(2).addresses.slice(0, 1) });
  const settings = (name: string) => ({
    forwarding: sysctl(node, `ipv4/conf/${name}/forwarding`),
    rp_filter: sysctl(node, `ipv4/conf/${name}/rp_filter`),
    proxy_arp: sysctl(node, `ipv4/conf/${name}/proxy_arp`),
    proxy_delay: sysctl(node, `ipv4/neigh/${name}/proxy_delay`),
    disable_ipv6: sysctl(node, `ipv6/conf/${name}/disable_ipv6`),
  });
  const common = { forwarding: '1', rp_filter: '0', proxy_arp: '1', proxy_delay: '0' };
  assert.deepEqual(settings('hd1'), { ...common, disable_ipv6: '0' });
  assert.deepEqual(settings('hd2'), { ...common, disable_ipv6: '1' });
  assert.equal(sysctl(node, 'ipv6/conf/hd1/accept_ra'), '0');
  assert.equal(sysctl(both, 'ipv6/conf/eth0/disable_ipv6'), '0');
  const reuse = [both, v4].map((pod) => sysctl(pod, 'ipv4/tcp_tw_reuse'));
  assert.deepEqual(reuse, ['1', '0'], 'a value other than the default stays');
});

test('network settings are written through the directory that is given', () => {
  using node = openNode();
  using pod = new Host();
  assert.throws(() => connect(node, pod, { ...podOf(1), sysctls: '/nowhere' }), {
    message: /\/nowhere\/ipv4\/conf\/hd1\/forwarding/,
  });
  connect(node, pod, { ...podOf(1), sysctls: '/proc/thread-self/root/proc/sys/net' });
  assert.equal(sysctl(node, 'ipv4/conf/hd1/forwarding'), '1');
});

test('both ends take large packets with BIG TCP', () => {
  using node = openNode();
  using pod = new Host();
  const segmentSize = bigTcpSize([])!;
  const { link, peer } = connect(node, pod, { ...podOf(1), segmentSize });
  for (const { segments } of [link, peer]) {
    assert.deepEqual([segments.gso, segments.gro], [196_608, 196_608]);
    // Linux 6.3 has sizes of its own for IPv4.
    if (segments.gsoIpv4 === 0) continue;
    assert.deepEqual([segments.gsoIpv4, segments.groIpv4], [196_608, 196_608]);
  }
});

test('bigTcpSize is limited by the links, and absent where one allows no more than usual', () => {
  const link = (tsoMax: number) => ({
    segments: { gso: 65_536, gsoIpv4: 65_536, gro: 65_536, groIpv4: 65_536, tsoMax },
  });
  assert.equal(bigTcpSize([link(524_280)]), 196_608);
  assert.equal(bigTcpSize([link(524_280), link(131_072)]), 131_072);
  assert.equal(bigTcpSize([link(524_280), link(65_536)]), undefined);
  assert.equal(bigTcpSize([link(0)]), undefined);
});

test('changeMtu changes both ends of the pods that a mount or a process leads to', () => {
  using node = openNode();
  using mounted = new Host();
  using hidden = new Host();
  mkdirSync('/run/netns', { recursive: true });
  const path = `/run/netns/heddle-podnet-${process.pid}`;
  mounted.namespace.mount(path);
  try {
    connect(node, mounted, podOf(1));
    connect(node, hidden, podOf(2));
    for (const mtu of [1300, 1450]) {
      const links = ['hd1', 'hd2'].map((name) => findLink(node.socket, name)!);
      const left = node.namespace.enter(() => changeMtu(platform, node.socket, links, mtu));
      assert.deepEqual(left, ['hd2']);
      const mtus = [
        ...['hd1', 'hd2'].map((name) => findLink(node.socket, name)!.mtu),
        findLink(mounted.socket, 'eth0')!.mtu,
      ];
      assert.deepEqual(mtus, [mtu, mtu, mtu]);
    }
  } finally {
    deleteNamespace(platform, path);
  }
});

test('createPodInterface refuses a name that the pod has already', () => {
  using node = openNode();
  using pod = new Host();
  connect(node, pod, podOf(1));
  assert.throws(() => connect(node, pod, podOf(2)), PodLinkExists);
  assert.equal(findLink(node.socket, 'hd2'), undefined);
});

test('createPodInterface creates netkit, where the kernel has it', async (context) => {
  using node = openNode();
  using pod = new Host();
  const link = { ...podOf(1), kind: 'netkit' } as const;
  try {
    connect(node, pod, link);
  } catch (error) {
    if (!isNetlinkError(error, 'EOPNOTSUPP')) throw error;
    context.skip('the kernel has no netkit (Linux 6.8 with CONFIG_NETKIT)');
    return;
  }
  assert.deepEqual(
    listNeighbours(pod.socket).filter(({ permanent }) => permanent),
    [],
  );
  const defaults = listRoutes(pod.socket).filter(({ destination }) => /\/0$/.test(destination));
  assert.deepEqual(
    defaults.map(({ destination, via }) => [destination, via]),
    [
      ['0.0.0.0/0', undefined],
      ['::/0', undefined],
    ],
  );
});

test('createPodInterface leaves no link behind when it fails', () => {
  using node = openNode();
  using pod = new Host();
  const { addresses, ...rest } = podOf(1);
  const bad = { ...rest, addresses: [addresses[0]!, { address: 'fd00:7::1', source: 'fd00::9' }] };
  assert.throws(() => connect(node, pod, bad), { name: 'NetlinkError' });
  const fail = () => {
    throw new Error('no program');
  };
  assert.throws(() => connect(node, pod, podOf(1), fail), { message: 'no program' });
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
  connect(node, pod, podOf(1));
  assert.equal(removePodInterface(node.socket, 'hd1'), true);
  assert.equal(removePodInterface(node.socket, 'hd1'), false);
  assert.equal(findLink(pod.socket, 'eth0'), undefined);
  const left = listRoutes(node.socket).filter(({ destination }) =>
    /^(10\.7|fd00:7)/.test(destination),
  );
  assert.deepEqual(left, []);
});
