import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ClusterLab } from '../../testing/cluster-lab.ts';
import { service, slice } from '../../testing/objects.ts';
import { backendNames, distinct, ServiceLab } from '../../testing/service-lab.ts';

const tries = 40;

describe('session affinity', () => {
  let setup: ServiceLab<ClusterLab>;
  before(async () => {
    setup = await ServiceLab.on(await ClusterLab.open('affinity', { podsPerNode: 5 }));
  });
  after(() => setup?.[Symbol.dispose]());

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
        setup.agentLab.apply(
          service(type.toLowerCase(), ['10.96.5.1'], {
            type,
            ports: [{ port: 80, ...(nodePort ? { nodePort } : {}) }],
            ...spec,
          }),
          slice(type.toLowerCase(), setup.v4(1, 2, 3)),
        );
      const pods = async (client = setup.client) =>
        nodePort
          ? distinct(await client.pods(setup.agentLab.node.addresses.v4, nodePort, tries))
          : distinct(await client.pods('10.96.5.1', 80, tries));

      test('a client keeps its backend', async () => {
        await write(sticky(10_800));
        for (const client of [setup.client, setup.other, setup.onNode]) {
          assert.equal((await pods(client)).length, 1);
        }
      });

      test('affinity can be switched on and off at runtime', async () => {
        await write({ sessionAffinity: 'None' });
        assert.deepEqual(await pods(), backendNames(1, 2, 3));
        await write(sticky(10_800));
        assert.equal((await pods()).length, 1);
        await write({ sessionAffinity: 'None' });
        assert.deepEqual(await pods(), backendNames(1, 2, 3));
      });

      test('affinity ends after its timeout', async () => {
        await write(sticky(1));
        const chosen = new Set<string>();
        // Each pause frees the choice; twelve pauses without another backend happen once in 177,000
        // runs.
        for (let i = 0; i < 12 && chosen.size < 2; i++) {
          const [pod, ...others] = await pods();
          assert.deepEqual(others, [], 'within its time it holds');
          chosen.add(pod!);
          await sleep(1100);
        }
        assert.ok(chosen.size > 1, `always ${[...chosen][0]}`);
        await setup.agentLab.remove('Service', type.toLowerCase());
      });
    });
  }
});
