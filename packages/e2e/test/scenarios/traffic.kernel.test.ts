import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startBackend } from '@heddle/lab';
import { ClusterLab } from '../../testing/cluster-lab.ts';
import { service, slice } from '../../testing/objects.ts';
import { backendNames, distinct, ports, ServiceLab } from '../../testing/service-lab.ts';
import { Client } from '../../testing/traffic/client.ts';

// Enough that one backend of three is missed once in 10 million runs.
const tries = 40;

describe('traffic to services, in each family and protocol', () => {
  let setup: ServiceLab<ClusterLab>;
  before(async () => {
    setup = await ServiceLab.on(await ClusterLab.open('traffic', { podsPerNode: 5 }));
  });
  after(() => setup?.[Symbol.dispose]());

  const servicePorts = [
    { name: 'tcp', port: 80, nodePort: 30080 },
    { name: 'udp', port: 80, nodePort: 30080, protocol: 'UDP' },
  ];
  const targets = [
    { name: 'tcp', port: ports.http },
    { name: 'udp', port: ports.dns, protocol: 'UDP' },
  ];
  const addresses = ['10.96.1.1', 'fd00:96::1:1'] as const;

  /** Returns the service `all` in both families with these backends. */
  async function expose(numbers: readonly number[], spec: object = {}): Promise<void> {
    await setup.agentLab.apply(
      service('all', addresses, { type: 'NodePort', ports: servicePorts, ...spec }),
      slice('all', setup.v4(...numbers), { ports: targets, addressType: 'IPv4' }),
      slice('all', setup.v6(...numbers), { ports: targets, addressType: 'IPv6', name: 'all-v6' }),
    );
  }

  const ask = (client: Client, protocol: string, host: string, port: number, count = tries) =>
    protocol === 'TCP' ? client.pods(host, port, count) : client.udpPods(host, port, count);

  for (const [family, index] of [
    ['IPv4', 0],
    ['IPv6', 1],
  ] as const) {
    for (const protocol of ['TCP', 'UDP'] as const) {
      const address = addresses[index];

      test(`${protocol} over ${family}: a pod, the node and a backend reach the service while endpoints change`, async () => {
        const backend = new Client(setup.agentLab.pod(2));
        await expose([1, 2, 3]);
        for (const client of [setup.client, setup.onNode, backend]) {
          assert.deepEqual(
            distinct(await ask(client, protocol, address, 80)),
            backendNames(1, 2, 3),
          );
        }
        await expose([1, 3]);
        assert.deepEqual(
          distinct(await ask(setup.client, protocol, address, 80)),
          backendNames(1, 3),
        );
        await expose([2]);
        assert.deepEqual(
          distinct(await ask(setup.client, protocol, address, 80, 10)),
          backendNames(2),
        );
        await expose([1, 2, 3]);
        assert.deepEqual(
          distinct(await ask(setup.client, protocol, address, 80)),
          backendNames(1, 2, 3),
        );
      });

      test(`${protocol} over ${family}: the NodePort is served until the service removes it`, async () => {
        const node = setup.agentLab.node.addresses[index === 0 ? 'v4' : 'v6'];
        await expose([1, 2]);
        for (const client of [setup.client, setup.onNode]) {
          assert.deepEqual(distinct(await ask(client, protocol, node, 30080)), backendNames(1, 2));
        }
        const clusterOnly = servicePorts.map(({ nodePort: _, ...port }) => port);
        await expose([1, 2], { type: 'ClusterIP', ports: clusterOnly });
        // No process listens there, so the node's own stack refuses.
        assert.deepEqual(distinct(await ask(setup.onNode, 'TCP', node, 30080, 3)), [
          'ECONNREFUSED',
        ]);
        assert.deepEqual(
          distinct(await ask(setup.client, protocol, address, 80)),
          backendNames(1, 2),
        );
      });

      test(`${protocol} over ${family}: large requests are echoed unchanged`, async () => {
        await expose([1, 2, 3]);
        // The largest UDP datagram has 44 fragments.
        const [how, bytes] =
          protocol === 'TCP' ? (['tcp', 2_000_000] as const) : (['unconnected', 60_000] as const);
        for (let i = 0; i < 3; i++) {
          const pod = await setup.client.echoBytes(how, address, 80, bytes);
          assert.ok(backendNames(1, 2, 3).includes(pod), pod);
        }
      });

      test(`${protocol} over ${family}: a client with session affinity keeps its backend`, async () => {
        await expose([1, 2, 3], { sessionAffinity: 'ClientIP' });
        for (const client of [setup.client, setup.other, setup.onNode]) {
          assert.equal(distinct(await ask(client, protocol, address, 80)).length, 1);
        }
        await expose([1, 2, 3]);
        assert.deepEqual(
          distinct(await ask(setup.client, protocol, address, 80)),
          backendNames(1, 2, 3),
        );
      });
    }
  }

  test('endpoints on the host network are served like pods', async () => {
    const { node } = setup.agentLab;
    await startBackend(node, { tcp: [8081], udp: [8081] });
    await setup.agentLab.apply(
      service('host', ['10.96.1.2', 'fd00:96::1:2'], { ports: servicePorts.map(clusterPort) }),
      ...[node.addresses.v4, node.addresses.v6].map((address, i) =>
        slice('host', [address], {
          name: `host-${i}`,
          ports: targets.map((target) => ({ ...target, port: 8081 })),
        }),
      ),
    );
    for (const host of ['10.96.1.2', 'fd00:96::1:2']) {
      for (const client of [setup.client, setup.onNode]) {
        for (const protocol of ['TCP', 'UDP']) {
          assert.deepEqual(distinct(await ask(client, protocol, host, 80, 5)), ['node1']);
        }
      }
    }
  });

  test('several services share the same pods', async () => {
    const each = ['10.96.1.3', '10.96.1.4', '10.96.1.5'];
    await setup.agentLab.apply(
      ...each.flatMap((address, i) => [
        service(`same-${i}`, [address]),
        slice(`same-${i}`, setup.v4(1, 2)),
      ]),
    );
    for (const address of each) {
      assert.deepEqual(distinct(await setup.client.pods(address, 80, tries)), backendNames(1, 2));
    }
    await setup.agentLab.remove('Service', 'same-1');
    assert.equal(
      await setup.client.pod(each[0]!, 80).then((pod) => backendNames(1, 2).includes(pod)),
      true,
    );
    assert.equal(backendNames(1, 2).includes(await setup.client.pod(each[1]!, 80)), false);
  });
});

function clusterPort({ nodePort: _, ...port }: { nodePort: number; name: string; port: number }) {
  return port;
}
