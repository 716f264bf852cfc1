// The agent as the network of a node: the real plug-in, programs and maps.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { heddle } from '@heddle/cli/testing/heddle';
import { checked, closeFd, syscallNumbers } from '@heddle/sys';
import { AF_INET, AF_INET6, encodeSockaddr, MSG_DONTWAIT, SOCK_DGRAM } from '@heddle/sys/net';
import { PodNetworkLab, Sandbox } from '../testing/pod-network-lab.ts';

const ranges = ['10.77.0.0/24', 'fd00:77::/64'];

/** Runs `work` in the network namespace of a pod or a node. */
type Enter = <Result>(work: () => Result) => Result;

/** Sends datagrams from one namespace to an address of another until one arrives. */
async function assertReaches(
  lab: PodNetworkLab,
  from: Enter,
  to: Enter,
  address: string,
): Promise<void> {
  const { platform } = lab;
  const nr = syscallNumbers(platform);
  const family = address.includes(':') ? AF_INET6 : AF_INET;
  const open = () => checked('socket', platform.syscall(nr.socket, family, SOCK_DGRAM, 0));
  const [sender, receiver] = [from(open), to(open)];
  try {
    const name = encodeSockaddr({ address, port: 7000 });
    checked('bind', platform.syscall(nr.bind, receiver, name, name.length));
    const bytes = Uint8Array.of(1);
    await lab.until(`a datagram arrives at ${address}`, () => {
      platform.syscall(nr.sendto, sender, bytes, 1, 0, name, name.length);
      return platform.syscall(nr.recvfrom, receiver, bytes, 1, MSG_DONTWAIT, 0, 0) === 1;
    });
  } finally {
    closeFd(platform, sender);
    closeFd(platform, receiver);
  }
}

const addressesOf = ({ ips }: { ips: readonly { address: string }[] }) =>
  ips.map(({ address }) => address.split('/')[0]!);

test('pods reach each other and their node, before and after the agent is killed', async () => {
  using lab = new PodNetworkLab('pods-reach', ranges);
  await lab.start();
  using first = new Sandbox(lab, 'first');
  using second = new Sandbox(lab, 'second');
  const firstAddresses = addressesOf(await lab.add(first));
  const secondAddresses = addressesOf(await lab.add(second));
  assert.deepEqual(firstAddresses, ['10.77.0.2', 'fd00:77::2']);
  const node: Enter = (work) => lab.node.enter(work);
  const enter =
    ({ namespace }: Sandbox): Enter =>
    (work) =>
      namespace.enter(work);
  const assertAll = async () => {
    for (const address of secondAddresses) {
      await assertReaches(lab, enter(first), enter(second), address);
      await assertReaches(lab, node, enter(second), address);
    }
    for (const address of firstAddresses) {
      await assertReaches(lab, enter(second), enter(first), address);
    }
    for (const address of Object.values(lab.node.addresses)) {
      await assertReaches(lab, enter(first), node, address);
    }
  };
  await assertAll();
  await lab.kill();
  await assertAll();
  await lab.start();
  await assertAll();
  assert.deepEqual(lab.programmed().sort(), lab.recorded().sort());
});

test('the plug-in and its configuration are installed once the agent can serve them', async () => {
  using lab = new PodNetworkLab('pods-install', ranges);
  await lab.start();
  await lab.until('the configuration is there', () =>
    readdirSync(`${lab.cniSocket.replace(/cni\.sock$/, '')}net.d`).includes('05-heddle.conflist'),
  );
  const { pods } = await lab.status();
  assert.deepEqual(pods, {
    count: 0,
    mtu: 1450,
    addresses: [
      { family: 'IPv4', ranges: ['10.77.0.0/24'], used: 0, total: 253 },
      { family: 'IPv6', ranges: ['fd00:77::/64'], used: 0, total: 65_534 },
    ],
  });
});

test('a pod that is deleted while no agent runs is forgotten by the next agent', async () => {
  using lab = new PodNetworkLab('pods-delete', ranges);
  await lab.start();
  using pod = new Sandbox(lab, 'pod');
  const added = await lab.call('ADD', pod);
  const prevResult = JSON.parse(added.output);
  assert.equal((await lab.call('CHECK', pod, { prevResult })).status, 0);
  await lab.kill();
  assert.equal((await lab.call('ADD', new Sandbox(lab, 'late'))).status, 1);
  assert.equal((await lab.call('DEL', pod)).status, 0);
  assert.deepEqual(lab.recorded(), []);
  await lab.start();
  assert.deepEqual(await lab.attachments(), []);
  assert.deepEqual(lab.programmed(), []);
  assert.equal((await lab.call('DEL', pod)).status, 0);
});

test('heddle pod list and get show a pod', async () => {
  using lab = new PodNetworkLab('pods-show', ranges);
  await lab.start();
  assert.equal((await heddle(['pod', 'list', '--socket', lab.socket])).stdout, 'no pods\n');
  using pod = new Sandbox(lab, 'web-1');
  await lab.add(pod);
  const table = (await heddle(['pod', 'list', '--socket', lab.socket])).stdout;
  assert.match(
    table,
    /^POD +ADDRESSES +INTERFACE +CONTAINER +AGE\ndefault\/web-1 +10\.77\.0\.2, fd00:77::2 +hd[0-9a-f]{13} +web-1 +\d+s\n$/,
  );
  const { pods } = (await lab.heddle('pod', 'list')) as { pods: { name: string }[] };
  assert.deepEqual(
    pods.map(({ name }) => name),
    ['web-1'],
  );
  for (const name of ['web-1', 'default/web-1', '10.77.0.2', 'fd00:77::2']) {
    const { stdout } = await heddle(['pod', 'get', name, '--socket', lab.socket]);
    assert.match(
      stdout,
      /^pod +default\/web-1\nnode +node1\nuid +web-1\naddress +10\.77\.0\.2\n/,
      name,
    );
    assert.match(stdout, /^interface +hd[0-9a-f]{13} \(index \d+, veth, MTU 1450\)$/m);
    assert.match(stdout, /^in the pod +eth0 \(02(:[0-9a-f]{2}){5}\)$/m);
    assert.match(stdout, /^programs +from_pod, to_pod\npolicies +none\n$/m);
  }
  const { code, stderr } = await heddle(['pod', 'get', 'other', '--socket', lab.socket]);
  assert.equal(code, 1);
  assert.match(stderr, /find pod other: this node has none/);
  const status = (await heddle(['status', '--socket', lab.socket])).stdout;
  assert.match(status, /^network +1 pod, 1 of 253 IPv4 addresses, 1 of 65534 IPv6 addresses, MTU/m);
});
