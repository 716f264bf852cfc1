import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster } from '../../testing/cluster.ts';
import { service, slice } from '../../testing/objects.ts';
import { kinds, named, Site } from '../../testing/site.ts';

const tries = 40;

describe('session affinity', () => {
  let site: Site<Cluster>;
  before(async () => {
    site = await Site.on(await Cluster.open('affinity', { podsPerNode: 5 }));
  });
  after(() => site?.[Symbol.dispose]());

  const sticky = (timeoutSeconds: number) => ({
    sessionAffinity: 'ClientIP',
    sessionAffinityConfig: { clientIP: { timeoutSeconds } },
  });

  for (const [type, nodePort] of [
    ['ClusterIP', 0],
    ['NodePort', 30380],
  ] as const) {
    describe(`of a ${type} service`, () => {
      const write = (spec: object) =>
        site.product.apply(
          service(type.toLowerCase(), ['10.96.5.1'], {
            type,
            ports: [{ port: 80, ...(nodePort ? { nodePort } : {}) }],
            ...spec,
          }),
          slice(type.toLowerCase(), site.v4(1, 2, 3)),
        );
      const pods = async (client = site.client) =>
        nodePort
          ? kinds(await client.pods(site.product.node.addresses.v4, nodePort, tries))
          : kinds(await client.pods('10.96.5.1', 80, tries));

      test('a client keeps its backend', async () => {
        await write(sticky(10_800));
        for (const client of [site.client, site.other, site.onNode]) {
          assert.equal((await pods(client)).length, 1);
        }
      });

      test('it is switched on and off while it runs', async () => {
        await write({ sessionAffinity: 'None' });
        assert.deepEqual(await pods(), named(1, 2, 3));
        await write(sticky(10_800));
        assert.equal((await pods()).length, 1);
        await write({ sessionAffinity: 'None' });
        assert.deepEqual(await pods(), named(1, 2, 3));
      });

      test('it ends when its time is over', async () => {
        await write(sticky(1));
        const chosen = new Set<string>();
        // Each pause frees the choice; twelve of them without another backend: once in 177,000.
        for (let i = 0; i < 12 && chosen.size < 2; i++) {
          const [pod, ...others] = await pods();
          assert.deepEqual(others, [], 'within its time it holds');
          chosen.add(pod!);
          await sleep(1100);
        }
        assert.ok(chosen.size > 1, `always ${[...chosen][0]}`);
        await site.product.remove('Service', type.toLowerCase());
      });
    });
  }
});
