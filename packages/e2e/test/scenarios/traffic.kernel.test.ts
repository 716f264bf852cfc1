import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startBackend } from '@heddle/lab';
import { Cluster } from '../../testing/cluster.ts';
import { service, slice } from '../../testing/objects.ts';
import { kinds, named, ports, Site } from '../../testing/site.ts';
import { Client } from '../../testing/traffic/client.ts';

// Enough that one backend of three is missed once in 10 million times.
const tries = 40;

describe('traffic to services, in each family and protocol', () => {
  let site: Site<Cluster>;
  before(async () => {
    site = await Site.on(await Cluster.open('traffic', { podsPerNode: 5 }));
  });
  after(() => site?.[Symbol.dispose]());

  const servicePorts = [
    { name: 'tcp', port: 80, nodePort: 30080 },
    { name: 'udp', port: 80, nodePort: 30080, protocol: 'UDP' },
  ];
  const targets = [
    { name: 'tcp', port: ports.http },
    { name: 'udp', port: ports.dns, protocol: 'UDP' },
  ];
  const addresses = ['10.96.1.1', 'fd00:96::1:1'] as const;

  /** The service `all` in both families, in front of these backends. */
  async function expose(numbers: readonly number[], spec: object = {}): Promise<void> {
    await site.product.apply(
      service('all', addresses, { type: 'NodePort', ports: servicePorts, ...spec }),
      slice('all', site.v4(...numbers), { ports: targets, addressType: 'IPv4' }),
      slice('all', site.v6(...numbers), { ports: targets, addressType: 'IPv6', name: 'all-v6' }),
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

      test(`${protocol} over ${family}: from a pod, the node and a backend itself; endpoints come and go`, async () => {
        const backend = new Client(site.product.pod(2));
        await expose([1, 2, 3]);
        for (const client of [site.client, site.onNode, backend]) {
          assert.deepEqual(kinds(await ask(client, protocol, address, 80)), named(1, 2, 3));
        }
        await expose([1, 3]);
        assert.deepEqual(kinds(await ask(site.client, protocol, address, 80)), named(1, 3));
        await expose([2]);
        assert.deepEqual(kinds(await ask(site.client, protocol, address, 80, 10)), named(2));
        await expose([1, 2, 3]);
        assert.deepEqual(kinds(await ask(site.client, protocol, address, 80)), named(1, 2, 3));
      });

      test(`${protocol} over ${family}: the NodePort serves until the service gives it up`, async () => {
        const node = site.product.node.addresses[index === 0 ? 'v4' : 'v6'];
        await expose([1, 2]);
        for (const client of [site.client, site.onNode]) {
          assert.deepEqual(kinds(await ask(client, protocol, node, 30080)), named(1, 2));
        }
        const clusterOnly = servicePorts.map(({ nodePort: _, ...port }) => port);
        await expose([1, 2], { type: 'ClusterIP', ports: clusterOnly });
        // Nobody listens there; the node itself says so, to each client of its own accord.
        assert.deepEqual(kinds(await ask(site.onNode, 'TCP', node, 30080, 3)), ['ECONNREFUSED']);
        assert.deepEqual(kinds(await ask(site.client, protocol, address, 80)), named(1, 2));
      });

      test(`${protocol} over ${family}: large requests come back whole`, async () => {
        await expose([1, 2, 3]);
        // A datagram as large as UDP takes is cut into 44 fragments.
        const [how, bytes] =
          protocol === 'TCP' ? (['tcp', 2_000_000] as const) : (['unconnected', 60_000] as const);
        for (let i = 0; i < 3; i++) {
          const pod = await site.client.large(how, address, 80, bytes);
          assert.ok(named(1, 2, 3).includes(pod), pod);
        }
      });

      test(`${protocol} over ${family}: a client with session affinity keeps its backend`, async () => {
        await expose([1, 2, 3], { sessionAffinity: 'ClientIP' });
        for (const client of [site.client, site.other, site.onNode]) {
          assert.equal(kinds(await ask(client, protocol, address, 80)).length, 1);
        }
        await expose([1, 2, 3]);
        assert.deepEqual(kinds(await ask(site.client, protocol, address, 80)), named(1, 2, 3));
      });
    }
  }

  test('endpoints on the host network are served like pods', async () => {
    const { node } = site.product;
    await startBackend(node, { tcp: [8081], udp: [8081] });
    await site.product.apply(
      service('host', ['10.96.1.2', 'fd00:96::1:2'], { ports: servicePorts.map(clusterPort) }),
      ...[node.addresses.v4, node.addresses.v6].map((address, i) =>
        slice('host', [address], {
          name: `host-${i}`,
          ports: targets.map((target) => ({ ...target, port: 8081 })),
        }),
      ),
    );
    for (const host of ['10.96.1.2', 'fd00:96::1:2']) {
      for (const client of [site.client, site.onNode]) {
        for (const protocol of ['TCP', 'UDP']) {
          assert.deepEqual(kinds(await ask(client, protocol, host, 80, 5)), ['node1']);
        }
      }
    }
  });

  test('several services before the same pods', async () => {
    const each = ['10.96.1.3', '10.96.1.4', '10.96.1.5'];
    await site.product.apply(
      ...each.flatMap((address, i) => [
        service(`same-${i}`, [address]),
        slice(`same-${i}`, site.v4(1, 2)),
      ]),
    );
    for (const address of each) {
      assert.deepEqual(kinds(await site.client.pods(address, 80, tries)), named(1, 2));
    }
    await site.product.remove('Service', 'same-1');
    assert.equal(
      await site.client.pod(each[0]!, 80).then((pod) => named(1, 2).includes(pod)),
      true,
    );
    assert.equal(named(1, 2).includes(await site.client.pod(each[1]!, 80)), false);
  });
});

function clusterPort({ nodePort: _, ...port }: { nodePort: number; name: string; port: number }) {
  return port;
}
