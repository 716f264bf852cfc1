import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Addresses } from '@heddle/lab';
import { clusterPolicyCases } from './cluster-policy-cases.ts';
import { judged, worldOf } from './naive.ts';
import { networkPolicyCases } from './network-policy-cases.ts';
import { ownPods } from './own-cases.ts';
import { podKey } from './policy-lab.ts';

const nodes = [1, 2].map((number) => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: `node${number}`, labels: { 'kubernetes.io/os': 'linux' } },
  status: {
    addresses: [`192.0.2.${number}`, `fd00:192:0:2::${number}`].map((address) => ({
      type: 'InternalIP',
      address,
    })),
  },
}));

function addressesOf(key: string): Addresses {
  const at = ownPods.findIndex((pod) => podKey(pod) === key);
  const { node, hostNetwork } = ownPods[at]!;
  return hostNetwork
    ? { v4: `192.0.2.${node}`, v6: `fd00:192:0:2::${node}` }
    : { v4: `10.244.${node}.${at + 2}`, v6: `fd00:10:244:${node}::${at + 2}` };
}

for (const [kind, cases] of [
  ['NetworkPolicies', networkPolicyCases],
  ['ClusterNetworkPolicies', clusterPolicyCases],
] as const) {
  for (const { title, steps } of cases(addressesOf)) {
    test(`the verdicts of the case of ${kind} are those of the naive judge: ${title}`, () => {
      for (const step of steps) {
        const world = worldOf(step, nodes, addressesOf);
        for (const family of ['v4', 'v6'] as const) {
          assert.deepEqual(judged(world, step.expected, addressesOf, family), step.expected);
        }
      }
    });
  }
}
