import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NodeNetworkLab } from '../testing/node-network-lab.ts';
import { assertReaches, exchange } from '../testing/traffic/reachability.ts';

const families = ['v4', 'v6'] as const;

test('pods of nodes on one link reach each other directly, and those behind a router through the tunnel', async () => {
  using network = new NodeNetworkLab('paths', { nodes: 3, farFrom: 3 });
  await network.start();
  const entries = await network.nodes(network.node(1));
  assert.deepEqual(
    entries.map(({ name, mode, status, problems }) => ({ name, mode, status, problems })),
    [
      { name: 'node2', mode: 'direct', status: 'done', problems: [] },
      { name: 'node3', mode: 'tunnel', status: 'done', problems: [] },
    ],
  );
  for (const family of families) {
    for (const [from, to] of [
      [1, 2],
      [2, 1],
      [1, 3],
      [3, 1],
      [3, 2],
    ] as const) {
      exchange(network.pod(from), network.pod(to), family, { bytes: 2_000_000 });
      assertReaches(network.pod(from), network.pod(to), family);
      assertReaches(network.node(from), network.pod(to), family);
    }
  }
});
