// CNI through the socket of the agent, with real interfaces in network namespaces.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { test } from 'node:test';
import { podInterfaceName } from '@heddle/ipam';
import {
  changeLink,
  createVeth,
  deleteNamespace,
  findLink,
  listAddresses,
  listLinks,
  type NetworkNamespace,
} from '@heddle/netlink';
import { congestionControlAnnotation } from '@heddle/objects';
import { congestionControl } from '@heddle/podnet';
import { nodePlatform } from '@heddle/sys/node';
import { eventually } from '@heddle/sys/testing/eventually';
import { callCni } from '../../../testing/cni-client.ts';
import { PodsNode } from '../../../testing/pods-node.ts';

const addressesOf = (node: PodsNode) => node.attachments.flatMap(({ addresses }) => addresses);
const programmedOf = (node: PodsNode) =>
  [...node.datapath.programmed.values()].flatMap(({ addresses }) => addresses);
const freed = (node: PodsNode, count = 0) =>
  eventually('the addresses are free', () => node.status.count === count);

test('ADD connects a pod in both families and answers with the result of version 1.1.0', async () => {
  using node = new PodsNode();
  using pod = node.pod('c1');
  const result = await node.add(pod);
  const name = podInterfaceName('c1', 'eth0');
  const link = findLink(node.socket, name)!;
  const peer = findLink(pod.socket, 'eth0')!;
  assert.deepEqual(result, {
    cniVersion: '1.1.0',
    interfaces: [
      { name, mac: '02:68:65:64:64:01', mtu: 1450 },
      { name: 'eth0', mac: peer.address, mtu: 1450, sandbox: '/run/netns/c1' },
    ],
    ips: [
      { address: '10.7.0.2/32', gateway: '169.254.1.1', interface: 1 },
      { address: 'fd00:7::2/128', gateway: 'fe80::1', interface: 1 },
    ],
    routes: [
      { dst: '0.0.0.0/0', gw: '169.254.1.1' },
      { dst: '::/0', gw: 'fe80::1' },
    ],
    dns: {},
  });
  assert.equal(link.alias, 'heddle:c1/eth0 uid-c1 10.7.0.2 fd00:7::2 default/c1');
  assert.deepEqual([link.up, peer.up, link.mtu, peer.mtu], [true, true, 1450, 1450]);
  assert.deepEqual(
    [...node.datapath.programmed.values()],
    [
      {
        ...{ ifindex: link.index, kind: 'veth', mac: peer.address, mtu: 1450 },
        addresses: ['10.7.0.2', 'fd00:7::2'],
      },
    ],
  );
  assert.deepEqual(
    node.attachments.map(({ since, ...rest }) => rest),
    [
      {
        ...{ namespace: 'default', name: 'c1', podUid: 'uid-c1', containerId: 'c1' },
        ...{ interface: name, podInterface: 'eth0', ifindex: link.index, kind: 'veth' },
        ...{ mac: peer.address, mtu: 1450, addresses: ['10.7.0.2', 'fd00:7::2'] },
      },
    ],
  );
});

test('a pod is programmed before its end is up', async () => {
  using node = new PodsNode();
  using pod = node.pod('c1');
  let isUp: boolean | undefined;
  node.datapath.onSet = () => {
    isUp = findLink(pod.socket, 'eth0')!.up;
  };
  await node.add(pod);
  assert.equal(isUp, false);
  assert.equal(findLink(pod.socket, 'eth0')!.up, true);
});

test('a node with one family gives pods addresses of it', async () => {
  for (const [range, address, other] of [
    ['10.7.0.0/24', '10.7.0.2', 'fd00:7::/64'],
    ['fd00:7::/64', 'fd00:7::2', '10.7.0.0/24'],
  ] as const) {
    using node = new PodsNode({ podCIDRs: [range] });
    using pod = node.pod('c1');
    const { ips, routes } = await node.add(pod);
    assert.equal(ips.length, 1);
    assert.equal(routes.length, 1);
    assert.deepEqual(addressesOf(node), [address], `without ${other}`);
  }
});

test('the same ADD twice gives the same result, and the pod is programmed again', async () => {
  using node = new PodsNode();
  using pod = node.pod('c1');
  const first = await node.add(pod);
  node.datapath.programmed.clear();
  assert.deepEqual(await node.add(pod), first);
  assert.equal(node.status.count, 1);
  assert.deepEqual(programmedOf(node), ['10.7.0.2', 'fd00:7::2']);
});

test('ADD of a container that is connected in another namespace fails', async () => {
  using node = new PodsNode();
  using pod = node.pod('c1');
  using other = node.pod('c1');
  await node.add(pod);
  const { isSuccess, output } = await node.call('ADD', other);
  assert.equal(isSuccess, false);
  assert.equal(output.code, 101);
  assert.match(output.msg, /^connect pod: container c1 has eth0 in another network namespace/);
});

test('ADD of a name that the pod has already fails and leaves nothing', async () => {
  using node = new PodsNode();
  using pod = node.pod('c1');
  createVeth(pod.socket, { name: 'eth0' }, { name: 'other' });
  const { isSuccess, output } = await node.call('ADD', pod);
  assert.equal(isSuccess, false);
  assert.deepEqual(
    [output.code, output.msg],
    [101, 'create pod interface: the pod has an interface eth0 already'],
  );
  assertEmpty(node);
});

test('a pod has several interfaces by their names', async () => {
  using node = new PodsNode();
  using pod = node.pod('c1');
  await node.add(pod);
  await node.add(pod, { more: { CNI_IFNAME: 'net1' } });
  const links = listLinks(pod.socket).map(({ name }) => name);
  assert.deepEqual(links.sort(), ['eth0', 'lo', 'net1']);
  assert.deepEqual(addressesOf(node), ['10.7.0.2', 'fd00:7::2', '10.7.0.3', 'fd00:7::3']);
});

test('an ADD that cannot be programmed fails, and leaves neither link nor address', async () => {
  using node = new PodsNode();
  using pod = node.pod('c1');
  node.datapath.setError = new Error('program pod: the map is full');
  const { isSuccess, output } = await node.call('ADD', pod);
  assert.equal(isSuccess, false);
  assert.deepEqual([output.code, output.msg], [100, 'program pod: the map is full']);
  assertEmpty(node);
  node.datapath.setError = undefined;
  assert.equal((await node.add(pod)).ips[0]!.address, '10.7.0.3/32');
});

test('an address that finds no room in the datapath is not given away', async () => {
  using node = new PodsNode();
  using pod = node.pod('c1');
  node.datapath.hasRoom = (address) => !/[23]$/.test(address);
  await node.add(pod);
  assert.deepEqual(addressesOf(node), ['10.7.0.4', 'fd00:7::4']);
});

test('an interface that an interrupted ADD has left is replaced', async () => {
  using node = new PodsNode();
  using pod = node.pod('c1');
  createVeth(node.socket, { name: podInterfaceName('c1', 'eth0') }, { name: 'half' });
  await node.add(pod);
  assert.equal(node.status.count, 1);
  assert.equal(findLink(node.socket, 'half'), undefined);
});

test('an interface with the name of the pod interface and a foreign alias stays, and ADD fails', async () => {
  using node = new PodsNode();
  using pod = node.pod('c1');
  const name = podInterfaceName('c1', 'eth0');
  const { link } = createVeth(node.socket, { name }, { name: 'half' });
  changeLink(node.socket, link.index, { alias: 'mine' });
  const { output } = await node.call('ADD', pod);
  assert.equal(output.code, 101);
  assert.equal(findLink(node.socket, name)!.alias, 'mine');
});

test('DEL forgets the pod at once, and its address is free when the interface is gone', async () => {
  using node = new PodsNode();
  using pod = node.pod('c1');
  await node.add(pod);
  assert.deepEqual(await node.call('DEL', pod), { isSuccess: true, output: undefined });
  assert.deepEqual(programmedOf(node), []);
  assert.equal(node.status.addresses[0]!.used, 1);
  assert.equal((await node.remove(pod)).isSuccess, true);
  await freed(node);
  assert.equal(node.status.addresses[0]!.used, 0);
  assert.equal((await node.remove(pod)).isSuccess, true);
});

test('DEL succeeds without namespace, and for a container that was never connected', async () => {
  using node = new PodsNode();
  using pod = node.pod('c1');
  await node.add(pod);
  const gone = await node.call('DEL', pod, { more: { CNI_NETNS: '' } });
  assert.equal(gone.isSuccess, true);
  using other = node.pod('never');
  assert.equal((await node.call('DEL', other)).isSuccess, true);
});

test('an address is free when the namespace has ended without DEL', async () => {
  using node = new PodsNode();
  {
    using pod = node.pod('c1');
    await node.add(pod);
  }
  await freed(node);
  assert.deepEqual(programmedOf(node), []);
});

test('CHECK succeeds for a pod as ADD has left it, and reports what has changed', async () => {
  using node = new PodsNode();
  using pod = node.pod('c1');
  const prevResult = await node.add(pod);
  const check = (more: object = {}) => node.call('CHECK', pod, { config: { prevResult, ...more } });
  assert.deepEqual(await check(), { isSuccess: true, output: undefined });
  assert.equal((await check({ prevResult: undefined })).output.code, 7);
  const wrong = await check({ prevResult: { ips: [{ address: '10.7.0.99/32' }] } });
  assert.deepEqual(
    [wrong.output.code, wrong.output.msg],
    [102, 'check pod: prevResult does not have 10.7.0.2'],
  );
  changeLink(pod.socket, findLink(pod.socket, 'eth0')!.index, { up: false });
  assert.equal((await check()).output.msg, 'check pod: eth0 is down');
  await node.remove(pod);
  const { output } = await check();
  assert.deepEqual([output.code, output.msg], [3, 'check pod: container c1 has no interface eth0']);
});

test('GC removes the pods that the runtime does not know, and nothing without its list', async () => {
  using node = new PodsNode();
  using pod = node.pod('c1');
  using lost = node.pod('c2');
  await node.add(pod);
  await node.add(lost);
  assert.equal((await node.call('GC', undefined)).isSuccess, true);
  assert.equal(node.status.count, 2);
  const valid = [{ containerID: 'c1', ifname: 'eth0' }];
  const config = { 'cni.dev/valid-attachments': valid };
  assert.equal((await node.call('GC', undefined, { config })).isSuccess, true);
  await freed(node, 1);
  assert.deepEqual(addressesOf(node), ['10.7.0.2', 'fd00:7::2']);
  const broken = { 'cni.dev/valid-attachments': 'all' };
  assert.equal((await node.call('GC', undefined, { config: broken })).output.code, 7);
});

test('STATUS fails with code 50 until the agent knows everything, and when no address is left', async () => {
  using node = new PodsNode({ podCIDRs: [] });
  using first = node.pod('c1');
  using second = node.pod('c2');
  const none = await node.call('STATUS', undefined);
  assert.equal(none.output.code, 50);
  assert.match(none.output.msg, /the node has no ranges of addresses for pods yet/);
  assert.equal((await node.call('ADD', first)).output.code, 11);
  node.feature.apply([nodeObject(['10.7.0.0/30'])], true);
  assert.deepEqual(await node.call('STATUS', undefined), { isSuccess: true, output: undefined });
  await node.add(first);
  const full = await node.call('STATUS', undefined);
  assert.equal(full.output.code, 50);
  assert.match(full.output.msg, /all 1 IPv4 addresses of 10\.7\.0\.0\/30 are used/);
  const { output } = await node.call('ADD', second);
  assert.equal(output.code, 11);
  assert.match(output.msg, /^allocate address: 1 of 1 IPv4 addresses of 10\.7\.0\.0\/30 are used$/);
  assert.equal((await node.add(first)).ips.length, 1, 'a pod that is connected stays connected');
  node.feature.apply([nodeObject(['10.7.0.0/30', '10.8.0.0/24'])], true);
  await node.add(second);
});

test('an event names the addresses when 80 % of them are used', async () => {
  using node = new PodsNode({ config: { podCIDRs: ['10.7.0.0/29'] } });
  const pods = ['c1', 'c2', 'c3', 'c4', 'c5'].map((id) => node.pod(id));
  const warnings = () =>
    node.host.events
      .recent()
      .filter(({ message }) => message.includes('addresses for pods are used'))
      .map(({ kind, message }) => `${kind}: ${message.split(' (')[0]}`);
  try {
    for (const pod of pods.slice(0, 3)) await node.add(pod);
    assert.deepEqual(warnings(), []);
    const expected = ['problem: 4 of 5 IPv4 addresses for pods are used, 80% of 10.7.0.0/29'];
    await node.add(pods[3]!);
    assert.deepEqual(warnings(), expected);
    await node.add(pods[4]!);
    assert.deepEqual(warnings(), expected, 'once');
  } finally {
    for (const pod of pods) pod[Symbol.dispose]();
  }
});

/** Returns the change of the node's object. */
function nodeObject(podCIDRs: readonly string[]) {
  const record = { kind: 'node', namespace: '', name: 'n1', nodeIPs: ['192.0.2.1'], podCIDRs };
  return { op: 'set', object: record } as const;
}

test("the node's own namespace and files that are no namespace are refused", async () => {
  using node = new PodsNode();
  const environment = {
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: 'c1',
    CNI_NETNS: '/run/netns/x',
    CNI_IFNAME: 'eth0',
  };
  const input = { cniVersion: '1.1.0', name: 'heddle', type: 'heddle-cni' };
  const own = await callCni(node.platform, node.socketPath, {
    ...{ environment, input, descriptor: node.namespace.fd },
  });
  assert.deepEqual(
    [own.output.code, own.output.msg],
    [4, "enter CNI_NETNS /run/netns/x: it is the node's own network namespace"],
  );
  const file = await callCni(node.platform, node.socketPath, {
    ...{ environment, input, descriptor: 0 },
  });
  assert.equal(file.output.code, 4);
  const none = await callCni(node.platform, node.socketPath, { environment, input });
  assert.deepEqual(
    [none.output.code, none.output.msg],
    [4, 'read CNI_NETNS: /run/netns/x cannot be opened'],
  );
  assertEmpty(node);
});

test('pods get no interface where the kernel has no netkit, and those of veth stay', async () => {
  using node = new PodsNode({ config: { podInterface: 'netkit' } });
  node.datapath.supports = (kind) => kind === 'veth';
  using pod = node.pod('c1');
  const { output } = await node.call('ADD', pod);
  assert.equal(output.code, 11);
  assert.match(
    output.msg,
    /the kernel has no netkit \(Linux 6\.8 with CONFIG_NETKIT\); set podInterface to veth$/,
  );
  assert.equal((await node.call('STATUS', undefined)).output.code, 50);
  assertEmpty(node);
});

test('250 pods at once get addresses of their own', async () => {
  using node = new PodsNode();
  const pods = Array.from({ length: 250 }, (_, i) => node.pod(`c${i}`));
  try {
    const results = await Promise.all(pods.map((pod) => node.add(pod)));
    const addresses = new Set(results.flatMap(({ ips }) => ips.map(({ address }) => address)));
    assert.equal(addresses.size, 500);
    assert.match(
      node.feature.warnings!({ isComplete: true } as never).join(),
      /98% of 10\.7\.0\.0/,
    );
  } finally {
    for (const pod of pods) pod[Symbol.dispose]();
  }
  await freed(node);
});

test('existing pods get the MTU of the external interfaces, at both ends', async () => {
  using node = new PodsNode({ config: { routing: 'native', devices: 'up0' } });
  using pod = node.pod('c1');
  createVeth(node.socket, { name: 'up0', mtu: 1400, up: true }, { name: 'far', up: true });
  await eventually('new pods have the MTU', () => node.status.mtu === 1400);
  await node.add(pod);
  using mount = mounted(pod.namespace);
  assert.ok(mount);
  changeLink(node.socket, findLink(node.socket, 'up0')!.index, { mtu: 1300 });
  await eventually('the pod has the new MTU', () => findLink(pod.socket, 'eth0')!.mtu === 1300);
  assert.equal(node.attachments[0]!.mtu, 1300);
  assert.equal([...node.datapath.programmed.values()][0]!.mtu, 1300);
});

/** Mounts a namespace where container runtimes do, until it is disposed. */
function mounted(namespace: NetworkNamespace): Disposable {
  mkdirSync('/run/netns', { recursive: true });
  const path = `/run/netns/heddle-pods-${process.pid}`;
  namespace.mount(path);
  return { [Symbol.dispose]: () => deleteNamespace(nodePlatform(), path) };
}

function assertEmpty(node: PodsNode): void {
  assert.deepEqual(node.attachments, []);
  assert.equal(node.datapath.programmed.size, 0);
  assert.deepEqual(
    node.status.addresses.map(({ used }) => used),
    node.status.addresses.map(() => 0),
  );
  const names = listLinks(node.socket).map(({ name }) => name);
  assert.deepEqual(names, ['lo']);
  assert.ok(listAddresses(node.socket).length > 0);
}

test('a pod gets the congestion control of its annotation, else that of the configuration', async () => {
  using node = new PodsNode({ config: { podCongestionControl: 'reno' } });
  const used = (pod: { namespace: NetworkNamespace }) =>
    pod.namespace.enter(() => congestionControl(nodePlatform()));
  const add = async (id: string, annotation?: string) => {
    using pod = node.pod(id);
    const annotations =
      annotation === undefined ? {} : { [congestionControlAnnotation]: annotation };
    const runtimeConfig = { 'io.kubernetes.cri.pod-annotations': annotations };
    assert.equal(
      (await node.call('ADD', pod, { config: { runtimeConfig } })).output.code,
      undefined,
    );
    return used(pod);
  };
  assert.equal(await add('c1'), 'reno');
  const own = congestionControl(nodePlatform());
  assert.equal(await add('c2', 'nosuch'), own);
  assert.match(node.feature.warnings!({ isComplete: true } as never).join(), /modprobe tcp_nosuch/);
  assert.equal(await add('c3', '../x'), own);
});
