import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Cluster } from '../../testing/cluster.ts';
import { endpoint, service, slice } from '../../testing/objects.ts';
import { kinds, named, Site } from '../../testing/site.ts';

const tries = 40;
const ready = { ready: true, serving: true, terminating: false };
const draining = { ready: false, serving: true, terminating: true };
const dead = { ready: false, serving: false, terminating: true };
const starting = { ready: false, serving: false, terminating: false };

/** An endpoint of backend `number`, on node1 unless said otherwise. */
type Wanted = readonly [number: number, conditions?: object, nodeName?: string, more?: object];

describe('which endpoints a service has, and for whom', () => {
  let site: Site<Cluster>;
  before(async () => {
    site = await Site.on(await Cluster.open('endpoints', { podsPerNode: 5 }));
  });
  after(() => site?.[Symbol.dispose]());

  const of = (name: string, ...wanted: readonly Wanted[]) =>
    slice(
      name,
      wanted.map(([number, conditions = ready, nodeName = 'node1', more = {}]) =>
        endpoint(site.v4(number)[0]!, conditions, { nodeName, ...more }),
      ),
      { addressType: 'IPv4' },
    );
  const fromPod = async (address: string, port = 80) =>
    kinds(await site.client.pods(address, port, tries));
  const fromNode = async (address: string, port = 80) =>
    kinds(await site.onNode.pods(address, port, tries));

  test('a connection is refused when no endpoints exist, from a pod and from the node', async () => {
    const address = '10.96.3.1';
    await site.product.apply(service('nobody', [address]));
    assert.deepEqual(await fromPod(address), ['ECONNREFUSED']);
    assert.deepEqual(await fromNode(address), ['ECONNREFUSED']);
    await site.product.apply(of('nobody', [1]));
    assert.deepEqual(await fromPod(address), named(1));
    // As when its only pod is evicted: the slice stays, without endpoints.
    await site.product.apply(of('nobody'));
    assert.deepEqual(await fromPod(address), ['ECONNREFUSED']);
    assert.deepEqual(await fromNode(address), ['ECONNREFUSED']);
  });

  test('an endpoint that is not ready yet gets nothing, until it is', async () => {
    const address = '10.96.3.2';
    await site.product.apply(service('unready', [address]), of('unready', [1, starting]));
    assert.deepEqual(await fromPod(address), ['ECONNREFUSED']);
    await site.product.apply(of('unready', [1, ready]));
    assert.deepEqual(await fromPod(address), named(1));
    await site.product.apply(of('unready', [1, starting], [2, ready]));
    assert.deepEqual(await fromPod(address), named(2));
  });

  test('publishNotReadyAddresses: unready and terminating endpoints are served, or not', async () => {
    const address = '10.96.3.3';
    const write = (publishNotReadyAddresses: boolean) =>
      site.product.apply(
        service('published', [address], { publishNotReadyAddresses }),
        of('published', [1, starting], [2, dead]),
      );
    await write(true);
    assert.deepEqual(await fromPod(address), named(1, 2));
    assert.deepEqual(await fromNode(address), named(1, 2));
    await write(false);
    assert.deepEqual(await fromPod(address), ['ECONNREFUSED']);
    assert.deepEqual(await fromNode(address), ['ECONNREFUSED']);
  });

  // For traffic from inside, a NodePort has all endpoints whatever externalTrafficPolicy says.
  for (const [policy, internal, external] of [
    ['internalTrafficPolicy Cluster', 'Cluster', undefined],
    ['internalTrafficPolicy Local', 'Local', undefined],
    ['externalTrafficPolicy Cluster', 'Cluster', 'Cluster'],
    ['externalTrafficPolicy Local', 'Cluster', 'Local'],
  ] as const) {
    test(`without ready endpoints the terminating ones serve: ${policy}`, async () => {
      const { product } = site;
      const node = product.node.addresses.v4;
      const spec = {
        type: 'NodePort',
        internalTrafficPolicy: internal,
        ...(external ? { externalTrafficPolicy: external } : {}),
        ports: [{ port: 80, nodePort: 30180 }],
      };
      const [address, port] = external ? [node, 30180] : ['10.96.3.4', 80];
      const write = (...wanted: readonly Wanted[]) =>
        product.apply(service('fallback', ['10.96.3.4'], spec), of('fallback', ...wanted));
      const ask = () => fromPod(address, port);
      await write([1, draining], [2, draining, 'node2'], [3, dead]);
      assert.deepEqual(await ask(), internal === 'Local' ? named(1) : named(1, 2));
      // A ready one anywhere ends the fallback; with the policy Local only a ready one here counts.
      await write([1, draining], [2, ready, 'node2'], [3, dead]);
      assert.deepEqual(await ask(), internal === 'Local' ? named(1) : named(2));
      await write([1, draining], [2, ready, 'node2'], [3, ready]);
      assert.deepEqual(await ask(), internal === 'Local' ? named(3) : named(2, 3));
      await write([1, dead], [2, dead, 'node2'], [3, starting]);
      assert.deepEqual(await ask(), ['ECONNREFUSED']);
    });
  }

  test('internalTrafficPolicy Local: pods and the node itself stay on the node, or are refused', async () => {
    const { product } = site;
    const address = '10.96.3.5';
    const write = (...wanted: readonly Wanted[]) =>
      product.apply(
        service('local', [address], { internalTrafficPolicy: 'Local' }),
        of('local', ...wanted),
      );
    await write([1], [2, ready, 'node2']);
    assert.deepEqual(await fromPod(address), named(1));
    assert.deepEqual(await fromNode(address), named(1));
    await write([2, ready, 'node2']);
    assert.deepEqual(await fromPod(address), ['ECONNREFUSED']);
    assert.deepEqual(await fromNode(address), ['ECONNREFUSED']);
    await product.apply(service('local', [address], { internalTrafficPolicy: 'Cluster' }));
    assert.deepEqual(await fromPod(address), named(2));
  });

  test('hints: the same zone, the same node, and everywhere when hints cannot be used', async () => {
    const { product } = site;
    const address = '10.96.3.6';
    const hint = (zone: string, nodeName?: string) => ({
      zone,
      hints: {
        forZones: [{ name: zone }],
        ...(nodeName ? { forNodes: [{ name: nodeName }] } : {}),
      },
    });
    const inZone = (zone: string) =>
      product.apply({
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name: 'node1', labels: { 'topology.kubernetes.io/zone': zone } },
      });
    const write = (trafficDistribution: string, ...wanted: readonly Wanted[]) =>
      product.apply(service('near', [address], { trafficDistribution }), of('near', ...wanted));
    await inZone('east');
    for (const distribution of ['PreferClose', 'PreferSameZone']) {
      await write(
        distribution,
        [1, ready, 'node1', hint('east')],
        [2, ready, 'node2', hint('west')],
        [3, ready, 'node3', hint('west')],
      );
      assert.deepEqual(await fromPod(address), named(1), distribution);
      // Nobody is left in the zone: the EndpointSlice controller gives new hints, or none.
      await write(distribution, [2, ready, 'node2', hint('west')], [3, ready, 'node3']);
      assert.deepEqual(await fromPod(address), named(2, 3), distribution);
    }
    const sameNode: readonly Wanted[] = [
      [1, ready, 'node1', hint('east', 'node1')],
      [2, ready, 'node2', hint('east', 'node2')],
      [3, ready, 'node3', hint('west', 'node3')],
    ];
    await write('PreferSameNode', ...sameNode);
    assert.deepEqual(await fromPod(address), named(1));
    await write('PreferSameNode', ...sameNode.slice(1));
    assert.deepEqual(await fromPod(address), named(2), 'the same zone, when nobody is on the node');
    // The node moves while it runs.
    await inZone('west');
    await write(
      'PreferClose',
      ...sameNode.map(([n, c, node]) => [n, c, node, hint(n === 3 ? 'west' : 'east')] as const),
    );
    assert.deepEqual(await fromPod(address), named(3));
  });

  test('several slices with several endpoints and ports each', async () => {
    const { product } = site;
    const address = '10.96.3.7';
    await product.apply(
      service('slices', [address]),
      slice('slices', site.v4(1, 2)),
      slice('slices', site.v4(3), { name: 'slices-2' }),
    );
    assert.deepEqual(await fromPod(address), named(1, 2, 3));
    await product.remove('EndpointSlice', 'slices-1');
    assert.deepEqual(await fromPod(address), named(3));
  });
});
