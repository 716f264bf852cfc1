import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Cluster } from '../../testing/cluster.ts';
import { service, slice } from '../../testing/objects.ts';
import { kinds, named, ports, Site } from '../../testing/site.ts';

const tries = 40;
const externalName = { type: 'ExternalName', externalName: 'example.com', clusterIPs: undefined };

describe('types of services', () => {
  let site: Site<Cluster>;
  before(async () => {
    site = await Site.on(await Cluster.open('types', { podsPerNode: 5 }));
  });
  after(() => site?.[Symbol.dispose]());

  const fromPod = async (address: string, port = 80) =>
    kinds(await site.client.pods(address, port, tries));
  const nodePort = (port = 30280) => ({ type: 'NodePort', ports: [{ port: 80, nodePort: port }] });

  for (const [name, inside] of [
    ['ClusterIP', {}],
    ['NodePort', nodePort()],
  ] as const) {
    test(`from ExternalName to ${name} and back`, async () => {
      const { product } = site;
      const address = '10.96.4.1';
      const node = product.node.addresses.v4;
      const isThere = async () => {
        assert.deepEqual(await fromPod(address), named(1));
        if (name === 'NodePort') assert.deepEqual(await fromPod(node, 30280), named(1));
      };
      const isAway = async () => {
        assert.deepEqual(await product.service('typed'), []);
        assert.doesNotMatch(await site.client.pod(address, 80), /^pod/);
        assert.deepEqual(await fromPod(node, 30280), ['ECONNREFUSED']);
      };
      await product.apply(service('typed', [], { ...externalName }), slice('typed', site.v4(1)));
      await isAway();
      await product.apply(service('typed', [address], inside));
      await isThere();
      await product.apply(service('typed', [], { ...externalName }));
      await isAway();
      await product.remove('Service', 'typed');
    });
  }

  test('between ClusterIP and NodePort, with another NodePort, and back', async () => {
    const { product } = site;
    const address = '10.96.4.2';
    const node = product.node.addresses.v4;
    await product.apply(service('moving', [address]), slice('moving', site.v4(1, 2)));
    assert.deepEqual(await fromPod(node, 30281), ['ECONNREFUSED']);
    await product.apply(service('moving', [address], nodePort(30281)));
    assert.deepEqual(await fromPod(node, 30281), named(1, 2));
    await product.apply(service('moving', [address], nodePort(30282)));
    assert.deepEqual(await fromPod(node, 30281), ['ECONNREFUSED']);
    assert.deepEqual(await fromPod(node, 30282), named(1, 2));
    await product.apply(service('moving', [address]));
    assert.deepEqual(await fromPod(node, 30282), ['ECONNREFUSED']);
    assert.deepEqual(await fromPod(address), named(1, 2));
  });

  test('one NodePort number for TCP and UDP, which come and go on their own', async () => {
    const { product } = site;
    const address = '10.96.4.3';
    const node = product.node.addresses.v4;
    const tcp = { name: 'tcp', port: 53, nodePort: 30283 };
    const udp = { name: 'udp', port: 53, nodePort: 30283, protocol: 'UDP' };
    const targets = [
      { name: 'tcp', port: ports.http },
      { name: 'udp', port: ports.dns, protocol: 'UDP' },
    ];
    const write = (...list: object[]) =>
      product.apply(
        service('both', [address], { type: 'NodePort', ports: list }),
        slice('both', site.v4(1), { ports: targets }),
      );
    await write(tcp);
    for (const [host, port] of [
      [address, 53],
      [node, 30283],
    ] as const) {
      await write(tcp, udp);
      assert.deepEqual(kinds(await site.client.pods(host, port, 5)), named(1));
      assert.deepEqual(kinds(await site.client.udpPods(host, port, 5)), named(1));
      await write(udp);
      assert.deepEqual(kinds(await site.client.pods(host, port, 5)), ['ECONNREFUSED']);
      assert.deepEqual(kinds(await site.client.udpPods(host, port, 5)), named(1));
    }
  });

  test('an address of a load balancer, one port number for TCP and UDP, from inside', async () => {
    const address = '203.0.113.9';
    await site.product.apply(
      service(
        'balanced',
        ['10.96.4.4'],
        {
          type: 'LoadBalancer',
          ports: [
            { name: 'tcp', port: 53 },
            { name: 'udp', port: 53, protocol: 'UDP' },
          ],
        },
        { status: { loadBalancer: { ingress: [{ ip: address }] } } },
      ),
      slice('balanced', site.v4(2), {
        ports: [
          { name: 'tcp', port: ports.http },
          { name: 'udp', port: ports.dns, protocol: 'UDP' },
        ],
      }),
    );
    assert.deepEqual(await fromPod(address, 53), named(2));
    assert.deepEqual(kinds(await site.client.udpPods(address, 53, 5)), named(2));
  });

  test('an external address that no node has', async () => {
    const address = '203.0.113.10';
    await site.product.apply(
      service('external', ['10.96.4.5'], { externalIPs: [address] }),
      slice('external', site.v4(1, 3)),
    );
    assert.deepEqual(await fromPod(address), named(1, 3));
    assert.deepEqual(kinds(await site.onNode.pods(address, 80, tries)), named(1, 3));
  });

  test('dual stack: the second family is served, taken away and given again', async () => {
    const both = ['fd00:96::4:6', '10.96.4.6'];
    const write = (addresses: readonly string[], ipFamilyPolicy: string) =>
      site.product.apply(
        service('dual', addresses, { ipFamilyPolicy }),
        slice('dual', site.v4(1, 2)),
        slice('dual', site.v6(1, 2), { name: 'dual-v6' }),
      );
    for (const addresses of [both, [both[0]!], both.toReversed(), [both[1]!], both]) {
      await write(addresses, addresses.length > 1 ? 'PreferDualStack' : 'SingleStack');
      for (const address of both) {
        if (addresses.includes(address)) assert.deepEqual(await fromPod(address), named(1, 2));
        else assert.doesNotMatch(await site.client.pod(address, 80), /^pod/);
      }
    }
  });
});
