// Pods whose interfaces are of netkit: they come from the CNI plug-in and the agents.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { features, LinuxBpf } from '@heddle/ebpf';
import type { LabPod } from '@heddle/lab';
import { nodePlatform } from '@heddle/sys/node';
import { NodeNetworkLab } from '../testing/node-network-lab.ts';
import { exchange } from '../testing/traffic/reachability.ts';

const skip =
  !features(new LinuxBpf(nodePlatform(() => {}))).has('link/netkit') &&
  'the kernel has no netkit (Linux 6.8 with CONFIG_NETKIT)';
const bytes = 200_000;

describe('pods with netkit', { skip }, () => {
  let network: NodeNetworkLab;
  let pods: [LabPod, LabPod, LabPod];
  before(async () => {
    network = new NodeNetworkLab('netkit', { nodes: 2, farFrom: 2, hasPods: false });
    const [first, second] = [network.node(1), network.node(2)];
    await network.startOn(first, '--pod-interface', 'netkit');
    await network.startOn(second, '--pod-interface', 'netkit');
    pods = [await network.addPod(first), await network.addPod(first), await network.addPod(second)];
  });
  after(() => network?.[Symbol.dispose]());

  test('reach each other on one node and through the tunnel, and their node', () => {
    for (const pod of pods) assert.equal(pod.node.link(pod.nodeLink).kind, 'netkit');
    for (const [from, to] of [
      [pods[0], pods[1]],
      [pods[0], pods[2]],
      [pods[2], pods[0]],
      [pods[0].node, pods[0]],
    ] as const) {
      for (const family of ['v4', 'v6'] as const) exchange(from, to, family, { bytes });
    }
  });

  test('keep their interfaces when the next agent makes new ones of veth', async () => {
    const node = network.node(1);
    await network.kill(node);
    exchange(pods[0], pods[1], 'v4', { bytes });
    await network.startOn(node);
    const added = await network.addPod(node);
    assert.equal(node.link(added.nodeLink).kind, 'veth');
    for (const [from, to] of [
      [pods[0], pods[1]],
      [pods[0], added],
      [added, pods[1]],
      [pods[2], pods[0]],
    ] as const) {
      for (const family of ['v4', 'v6'] as const) exchange(from, to, family, { bytes });
    }
    const { integrity } = await network.status(node);
    assert.deepEqual(integrity.broken, []);
  });
});
