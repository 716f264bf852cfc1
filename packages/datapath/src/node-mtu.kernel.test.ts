import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { echoBytes, startBackend } from '@heddle/lab';
import { row } from '../testing/rows.ts';
import { World } from '../testing/world.ts';

describe('sizes of packets', () => {
  for (const [mtu, pathMtu] of [
    [1500, undefined],
    [9000, undefined],
    [1500, 1300],
    [9000, 1400],
  ] as const) {
    const narrow = pathMtu === undefined ? '' : `, ${pathMtu} in the middle`;
    test(`MTU ${mtu}${narrow}: 2 MB and 1 byte, there and back`, async () => {
      const limit = pathMtu === undefined ? {} : { pathMtu };
      using world = new World('mtu', 1, { lab: { nodes: 2, outside: 1, mtu, ...limit } });
      world.serveOutside();
      const client = world.lab.outside[0]!;
      await Promise.all(world.lab.pods.map((pod) => startBackend(pod, { echo: [8080] })));
      let port = 30_000;
      for (const pod of world.lab.pods) {
        for (const end of ['v4', 'v6'] as const) {
          const address = world.node.addresses[end];
          world.apply(
            row(
              [{ kind: 'NodePort', address, port: ++port }],
              [{ address: pod.addresses[end], port: 8080 }],
            ),
          );
          for (const size of [1, 2_000_000]) echoBytes(client, { address, port }, size);
        }
      }
      assert.equal(port, 30_004);
    });
  }
});
