import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ClusterLab } from '../../testing/cluster-lab.ts';
import { endpoint, service, slice } from '../../testing/objects.ts';
import { backendNames, distinct, ServiceLab } from '../../testing/service-lab.ts';

const tries = 40;
const ready = { ready: true, serving: true, terminating: false };
const draining = { ready: false, serving: true, terminating: true };
const dead = { ready: false, serving: false, terminating: true };
const starting = { ready: false, serving: false, terminating: false };

/** Returns an endpoint of backend `number`, by default on node1. */
type EndpointSpec = readonly [
  number: number,
  conditions?: object,
  nodeName?: string,
  more?: object,
];

describe('the endpoints of a service by conditions, policies and hints', () => {
  let setup: ServiceLab<ClusterLab>;
  before(async () => {
    setup = await ServiceLab.on(await ClusterLab.open('endpoints', { podsPerNode: 5 }));
  });
  after(() => setup?.[Symbol.dispose]());

  const of = (name: string, ...wanted: readonly EndpointSpec[]) =>
    slice(
      name,
      wanted.map(([number, conditions = ready, nodeName = 'node1', more = {}]) =>
        endpoint(setup.v4(number)[0]!, conditions, { nodeName, ...more }),
      ),
      { addressType: 'IPv4' },
    );
  const fromPod = async (address: string, port = 80) =>
    distinct(await setup.client.pods(address, port, tries));
  const fromNode = async (address: string, port = 80) =>
    distinct(await setup.onNode.pods(address, port, tries));

  test('a connection is refused when no endpoints exist, from a pod and from the node', async () => {
    const address = '10.96.3.1';
    await setup.agentLab.apply(service('nobody', [address]));
    assert.deepEqual(await fromPod(address), ['ECONNREFUSED']);
    assert.deepEqual(await fromNode(address), ['ECONNREFUSED']);
    await setup.agentLab.apply(of('nobody', [1]));
    assert.deepEqual(await fromPod(address), backendNames(1));
    // After the eviction of its only pod, the slice stays, without endpoints.
    await setup.agentLab.apply(of('nobody'));
    assert.deepEqual(await fromPod(address), ['ECONNREFUSED']);
    assert.deepEqual(await fromNode(address), ['ECONNREFUSED']);
  });

  test('an endpoint gets no connections until it is ready', async () => {
    const address = '10.96.3.2';
    await setup.agentLab.apply(service('unready', [address]), of('unready', [1, starting]));
    assert.deepEqual(await fromPod(address), ['ECONNREFUSED']);
    await setup.agentLab.apply(of('unready', [1, ready]));
    assert.deepEqual(await fromPod(address), backendNames(1));
    await setup.agentLab.apply(of('unready', [1, starting], [2, ready]));
    assert.deepEqual(await fromPod(address), backendNames(2));
  });

  test('publishNotReadyAddresses decides whether unready and terminating endpoints are used', async () => {
    const address = '10.96.3.3';
    const write = (publishNotReadyAddresses: boolean) =>
      setup.agentLab.apply(
        service('published', [address], { publishNotReadyAddresses }),
        of('published', [1, starting], [2, dead]),
      );
    await write(true);
    assert.deepEqual(await fromPod(address), backendNames(1, 2));
    assert.deepEqual(await fromNode(address), backendNames(1, 2));
    await write(false);
    assert.deepEqual(await fromPod(address), ['ECONNREFUSED']);
    assert.deepEqual(await fromNode(address), ['ECONNREFUSED']);
  });

  // For internal traffic a NodePort has all endpoints, whatever externalTrafficPolicy is.
  for (const [policy, internal, external] of [
    ['internalTrafficPolicy Cluster', 'Cluster', undefined],
    ['internalTrafficPolicy Local', 'Local', undefined],
    ['externalTrafficPolicy Cluster', 'Cluster', 'Cluster'],
    ['externalTrafficPolicy Local', 'Cluster', 'Local'],
  ] as const) {
    test(`terminating endpoints serve while none is ready: ${policy}`, async () => {
      const { agentLab } = setup;
      const node = agentLab.node.addresses.v4;
      const spec = {
        type: 'NodePort',
        internalTrafficPolicy: internal,
        ...(external ? { externalTrafficPolicy: external } : {}),
        ports: [{ port: 80, nodePort: 30180 }],
      };
      const [address, port] = external ? [node, 30180] : ['10.96.3.4', 80];
      const write = (...wanted: readonly EndpointSpec[]) =>
        agentLab.apply(service('fallback', ['10.96.3.4'], spec), of('fallback', ...wanted));
      const ask = () => fromPod(address, port);
      await write([1, draining], [2, draining, 'node2'], [3, dead]);
      assert.deepEqual(await ask(), internal === 'Local' ? backendNames(1) : backendNames(1, 2));
      // A ready endpoint on any node ends the fallback; with the policy Local only one on this
      // node.
      await write([1, draining], [2, ready, 'node2'], [3, dead]);
      assert.deepEqual(await ask(), internal === 'Local' ? backendNames(1) : backendNames(2));
      await write([1, draining], [2, ready, 'node2'], [3, ready]);
      assert.deepEqual(await ask(), internal === 'Local' ? backendNames(3) : backendNames(2, 3));
      await write([1, dead], [2, dead, 'node2'], [3, starting]);
      assert.deepEqual(await ask(), ['ECONNREFUSED']);
    });
  }

  test('internalTrafficPolicy Local: pods and the node get endpoints of the node, or are refused', async () => {
    const { agentLab } = setup;
    const address = '10.96.3.5';
    const write = (...wanted: readonly EndpointSpec[]) =>
      agentLab.apply(
        service('local', [address], { internalTrafficPolicy: 'Local' }),
        of('local', ...wanted),
      );
    await write([1], [2, ready, 'node2']);
    assert.deepEqual(await fromPod(address), backendNames(1));
    assert.deepEqual(await fromNode(address), backendNames(1));
    await write([2, ready, 'node2']);
    assert.deepEqual(await fromPod(address), ['ECONNREFUSED']);
    assert.deepEqual(await fromNode(address), ['ECONNREFUSED']);
    await agentLab.apply(service('local', [address], { internalTrafficPolicy: 'Cluster' }));
    assert.deepEqual(await fromPod(address), backendNames(2));
  });

  test('hints select endpoints of the zone or the node, and all endpoints if they do not apply', async () => {
    const { agentLab } = setup;
    const address = '10.96.3.6';
    const hint = (zone: string, nodeName?: string) => ({
      zone,
      hints: {
        forZones: [{ name: zone }],
        ...(nodeName ? { forNodes: [{ name: nodeName }] } : {}),
      },
    });
    const inZone = (zone: string) =>
      agentLab.apply({
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name: 'node1', labels: { 'topology.kubernetes.io/zone': zone } },
      });
    const write = (trafficDistribution: string, ...wanted: readonly EndpointSpec[]) =>
      agentLab.apply(service('near', [address], { trafficDistribution }), of('near', ...wanted));
    await inZone('east');
    for (const distribution of ['PreferClose', 'PreferSameZone']) {
      await write(
        distribution,
        [1, ready, 'node1', hint('east')],
        [2, ready, 'node2', hint('west')],
        [3, ready, 'node3', hint('west')],
      );
      assert.deepEqual(await fromPod(address), backendNames(1), distribution);
      // No endpoint is left in the zone: the EndpointSlice controller writes new hints, or none.
      await write(distribution, [2, ready, 'node2', hint('west')], [3, ready, 'node3']);
      assert.deepEqual(await fromPod(address), backendNames(2, 3), distribution);
    }
    const sameNode: readonly EndpointSpec[] = [
      [1, ready, 'node1', hint('east', 'node1')],
      [2, ready, 'node2', hint('east', 'node2')],
      [3, ready, 'node3', hint('west', 'node3')],
    ];
    await write('PreferSameNode', ...sameNode);
    assert.deepEqual(await fromPod(address), backendNames(1));
    await write('PreferSameNode', ...sameNode.slice(1));
    assert.deepEqual(
      await fromPod(address),
      backendNames(2),
      'the same zone, when no endpoint is on the node',
    );
    // The node changes its zone at runtime.
    await inZone('west');
    await write(
      'PreferClose',
      ...sameNode.map(([n, c, node]) => [n, c, node, hint(n === 3 ? 'west' : 'east')] as const),
    );
    assert.deepEqual(await fromPod(address), backendNames(3));
  });

  test('several slices with several endpoints and ports each are merged', async () => {
    const { agentLab } = setup;
    const address = '10.96.3.7';
    await agentLab.apply(
      service('slices', [address]),
      slice('slices', setup.v4(1, 2)),
      slice('slices', setup.v4(3), { name: 'slices-2' }),
    );
    assert.deepEqual(await fromPod(address), backendNames(1, 2, 3));
    await agentLab.remove('EndpointSlice', 'slices-1');
    assert.deepEqual(await fromPod(address), backendNames(3));
  });
});
