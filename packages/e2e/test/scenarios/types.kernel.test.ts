import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ClusterLab } from '../../testing/cluster-lab.ts';
import { service, slice } from '../../testing/objects.ts';
import { backendNames, distinct, ports, ServiceLab } from '../../testing/service-lab.ts';

const tries = 40;
const externalName = { type: 'ExternalName', externalName: 'example.com', clusterIPs: undefined };

describe('types of services', () => {
  let setup: ServiceLab<ClusterLab>;
  before(async () => {
    setup = await ServiceLab.on(await ClusterLab.open('types', { podsPerNode: 5 }));
  });
  after(() => setup?.[Symbol.dispose]());

  const fromPod = async (address: string, port = 80) =>
    distinct(await setup.client.pods(address, port, tries));
  const nodePort = (port = 30280) => ({ type: 'NodePort', ports: [{ port: 80, nodePort: port }] });

  for (const [name, inside] of [
    ['ClusterIP', {}],
    ['NodePort', nodePort()],
  ] as const) {
    test(`a service changes a service changes a service changes a service changes from ExternalName to ${name} and back`, async () => {
      const { agentLab } = setup;
      const address = '10.96.4.1';
      const node = agentLab.node.addresses.v4;
      const isThere = async () => {
        assert.deepEqual(await fromPod(address), backendNames(1));
        if (name === 'NodePort') assert.deepEqual(await fromPod(node, 30280), backendNames(1));
      };
      const isAway = async () => {
        assert.deepEqual(await agentLab.service('typed'), []);
        assert.doesNotMatch(await setup.client.pod(address, 80), /^pod/);
        assert.deepEqual(await fromPod(node, 30280), ['ECONNREFUSED']);
      };
      await agentLab.apply(service('typed', [], { ...externalName }), slice('typed', setup.v4(1)));
      await isAway();
      await agentLab.apply(service('typed', [address], inside));
      await isThere();
      await agentLab.apply(service('typed', [], { ...externalName }));
      await isAway();
      await agentLab.remove('Service', 'typed');
    });
  }

  test('a service changes from ClusterIP to NodePort, to another NodePort, and back', async () => {
    const { agentLab } = setup;
    const address = '10.96.4.2';
    const node = agentLab.node.addresses.v4;
    await agentLab.apply(service('moving', [address]), slice('moving', setup.v4(1, 2)));
    assert.deepEqual(await fromPod(node, 30281), ['ECONNREFUSED']);
    await agentLab.apply(service('moving', [address], nodePort(30281)));
    assert.deepEqual(await fromPod(node, 30281), backendNames(1, 2));
    await agentLab.apply(service('moving', [address], nodePort(30282)));
    assert.deepEqual(await fromPod(node, 30281), ['ECONNREFUSED']);
    assert.deepEqual(await fromPod(node, 30282), backendNames(1, 2));
    await agentLab.apply(service('moving', [address]));
    assert.deepEqual(await fromPod(node, 30282), ['ECONNREFUSED']);
    assert.deepEqual(await fromPod(address), backendNames(1, 2));
  });

  test('one NodePort number for TCP and UDP is added and removed independently', async () => {
    const { agentLab } = setup;
    const address = '10.96.4.3';
    const node = agentLab.node.addresses.v4;
    const tcp = { name: 'tcp', port: 53, nodePort: 30283 };
    const udp = { name: 'udp', port: 53, nodePort: 30283, protocol: 'UDP' };
    const targets = [
      { name: 'tcp', port: ports.http },
      { name: 'udp', port: ports.dns, protocol: 'UDP' },
    ];
    const write = (...list: object[]) =>
      agentLab.apply(
        service('both', [address], { type: 'NodePort', ports: list }),
        slice('both', setup.v4(1), { ports: targets }),
      );
    await write(tcp);
    for (const [host, port] of [
      [address, 53],
      [node, 30283],
    ] as const) {
      await write(tcp, udp);
      assert.deepEqual(distinct(await setup.client.pods(host, port, 5)), backendNames(1));
      assert.deepEqual(distinct(await setup.client.udpPods(host, port, 5)), backendNames(1));
      await write(udp);
      assert.deepEqual(distinct(await setup.client.pods(host, port, 5)), ['ECONNREFUSED']);
      assert.deepEqual(distinct(await setup.client.udpPods(host, port, 5)), backendNames(1));
    }
  });

  test('a load balancer address with one port number for TCP and UDP is served to internal clients', async () => {
    const address = '203.0.113.9';
    await setup.agentLab.apply(
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
      slice('balanced', setup.v4(2), {
        ports: [
          { name: 'tcp', port: ports.http },
          { name: 'udp', port: ports.dns, protocol: 'UDP' },
        ],
      }),
    );
    assert.deepEqual(await fromPod(address, 53), backendNames(2));
    assert.deepEqual(distinct(await setup.client.udpPods(address, 53, 5)), backendNames(2));
  });

  test('an external address that no node has is served', async () => {
    const address = '203.0.113.10';
    await setup.agentLab.apply(
      service('external', ['10.96.4.5'], { externalIPs: [address] }),
      slice('external', setup.v4(1, 3)),
    );
    assert.deepEqual(await fromPod(address), backendNames(1, 3));
    assert.deepEqual(distinct(await setup.onNode.pods(address, 80, tries)), backendNames(1, 3));
  });

  test('the second family of a dual-stack service is served, removed and added again', async () => {
    const both = ['fd00:96::4:6', '10.96.4.6'];
    const write = (addresses: readonly string[], ipFamilyPolicy: string) =>
      setup.agentLab.apply(
        service('dual', addresses, { ipFamilyPolicy }),
        slice('dual', setup.v4(1, 2)),
        slice('dual', setup.v6(1, 2), { name: 'dual-v6' }),
      );
    for (const addresses of [both, [both[0]!], both.toReversed(), [both[1]!], both]) {
      await write(addresses, addresses.length > 1 ? 'PreferDualStack' : 'SingleStack');
      for (const address of both) {
        if (addresses.includes(address))
          assert.deepEqual(await fromPod(address), backendNames(1, 2));
        else assert.doesNotMatch(await setup.client.pod(address, 80), /^pod/);
      }
    }
  });
});
