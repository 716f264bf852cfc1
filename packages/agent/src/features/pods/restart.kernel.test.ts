// Agents that start, end and start again, with real interfaces in network namespaces.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { podInterfaceName } from '@heddle/ipam';
import { createVeth, findLink } from '@heddle/netlink';
import { eventually } from '@heddle/sys/testing/eventually';
import { PodsNode } from '../../../testing/pods-node.ts';

const addressesOf = (node: PodsNode) => node.attachments.flatMap(({ addresses }) => addresses);
const programmedOf = (node: PodsNode) =>
  [...node.datapath.programmed.values()].flatMap(({ addresses }) => addresses);
const freed = (node: PodsNode, count = 0) =>
  eventually('the addresses are free', () => node.status.count === count);

test('an agent that starts again finds its pods and removes what nobody needs', async () => {
  using node = new PodsNode();
  using pod = node.pod('c1');
  using late = node.pod('c2');
  await node.add(pod);
  const before = node.attachments.map(({ since, ...rest }) => rest);
  node.feature[Symbol.dispose]();
  node.datapath.programmed.clear();
  node.datapath.set({ ifindex: 4711, kind: 'veth', mac: '', addresses: ['10.7.0.9'], mtu: 1500 });
  createVeth(node.socket, { name: podInterfaceName('half', 'eth0') }, { name: 'half' });
  node.restart();
  assert.deepEqual(node.attachments, before);
  assert.deepEqual(programmedOf(node), ['10.7.0.2', 'fd00:7::2']);
  await eventually('the unfinished interface is gone', () => !findLink(node.socket, 'half'));
  assert.equal((await node.add(late)).ips[0]!.address, '10.7.0.3/32');
  await node.remove(pod);
  await freed(node, 1);
});

test('a pod that was removed while no agent ran is forgotten', async () => {
  using node = new PodsNode();
  using other = node.pod('c2');
  {
    using pod = node.pod('c1');
    await node.add(pod);
    await node.add(other);
    node.feature[Symbol.dispose]();
  }
  await eventually('the interface is gone', () => {
    return !findLink(node.socket, podInterfaceName('c1', 'eth0'));
  });
  node.restart();
  assert.deepEqual(addressesOf(node), ['10.7.0.3', 'fd00:7::3']);
  assert.deepEqual(programmedOf(node), ['10.7.0.3', 'fd00:7::3']);
});

test('a network namespace can be used by another container', async () => {
  using node = new PodsNode();
  using pod = node.pod('c1');
  await node.add(pod);
  await node.remove(pod);
  await freed(node);
  const { isSuccess } = await node.call('ADD', pod, { more: { CNI_CONTAINERID: 'c2' } });
  assert.equal(isSuccess, true);
  const [attachment] = node.attachments;
  assert.deepEqual([attachment!.containerId, attachment!.addresses[0]], ['c2', '10.7.0.3']);
});

test('a pod with the longest names keeps its record, without the names', async () => {
  using node = new PodsNode();
  using pod = node.pod('c'.repeat(64));
  const names = `K8S_POD_NAMESPACE=${'n'.repeat(63)};K8S_POD_NAME=${'p'.repeat(253)};K8S_POD_UID=${'u'.repeat(36)}`;
  await node.add(pod, { more: { CNI_ARGS: names } });
  node.restart();
  const [{ name, podUid, addresses }] = node.attachments as [(typeof node.attachments)[0]];
  assert.deepEqual([name, podUid, addresses], ['', 'u'.repeat(36), ['10.7.0.2', 'fd00:7::2']]);
});
