import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { endpoint, service, slice } from '../testing/objects.ts';
import { kinds, named, Site } from '../testing/site.ts';

describe('which endpoints serve', () => {
  let site: Site;
  before(async () => {
    site = await Site.open('endpoints');
  });
  after(() => site?.[Symbol.dispose]());

  /** Writes a service with these slices and gives the pods that answer it. */
  async function answers(
    name: string,
    address: string,
    spec: object,
    ...slices: readonly object[]
  ): Promise<string[]> {
    await site.product.apply(`${name}.yaml`, service(name, [address], { ...spec }), ...slices);
    return kinds(await site.client.pods(address, 80, 24));
  }

  test('several slices are merged, and an endpoint that is in two counts once', async () => {
    const both = await answers(
      ...(['merged', '10.96.2.1', {}] as const),
      slice('merged', site.v4(1, 2)),
      slice('merged', site.v4(2, 3), { name: 'merged-2' }),
    );
    assert.deepEqual(both, named(1, 2, 3));
    const [row] = await site.product.service('merged');
    assert.equal(row!.endpoints.length, 3);
    // The slices are files of their own as a rule, and come in any order.
    await site.product.apply('merged-3.yaml', slice('merged', site.v4(3), { name: 'merged-3' }));
    const only = await answers(...(['merged', '10.96.2.1', {}] as const));
    assert.deepEqual(only, named(3));
  });

  test('internalTrafficPolicy Local: the ClusterIP stays on the node, the NodePort does not', async () => {
    const on = (nodeName: string, number: number) =>
      endpoint(site.v4(number)[0]!, {}, { nodeName });
    const spec = {
      type: 'NodePort',
      internalTrafficPolicy: 'Local',
      ports: [{ port: 80, nodePort: 30180 }],
    };
    const address = '10.96.2.2';
    const local = slice('local', [on('node1', 1), on('node2', 2), on('node2', 3)]);
    assert.deepEqual(await answers('local', address, spec, local), named(1));
    const nodePort = await site.client.pods(site.product.node.addresses.v4, 30180, 40);
    assert.deepEqual(kinds(nodePort), named(1, 2, 3));
    const remote = slice('local', [on('node2', 2), on('node2', 3)]);
    assert.deepEqual(await answers('local', address, spec, remote), ['ECONNREFUSED']);
    assert.deepEqual(
      await answers('local', address, { ...spec, internalTrafficPolicy: 'Cluster' }, remote),
      named(2, 3),
    );
  });

  test("topology hints keep traffic in the node's zone, also when that changes", async () => {
    const node = (zone: string) =>
      site.product.apply('node.yaml', {
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name: 'node1', labels: { 'topology.kubernetes.io/zone': zone } },
      });
    const hinted = (number: number, zone?: string) =>
      endpoint(site.v4(number)[0]!, {}, zone ? { hints: { forZones: [{ name: zone }] } } : {});
    const spec = { trafficDistribution: 'PreferClose' };
    const all = slice('zones', [hinted(1, 'east'), hinted(2, 'west'), hinted(3, 'west')]);
    await node('east');
    assert.deepEqual(await answers('zones', '10.96.2.3', spec, all), named(1));
    await node('west');
    assert.deepEqual(kinds(await site.client.pods('10.96.2.3', 80, 24)), named(2, 3));
    await node('north');
    assert.deepEqual(kinds(await site.client.pods('10.96.2.3', 80, 40)), named(1, 2, 3));
    await node('east');
    const partly = slice('zones', [hinted(1, 'east'), hinted(2, 'west'), hinted(3)]);
    assert.deepEqual(await answers('zones', '10.96.2.3', spec, partly), named(1, 2, 3));
    const toNode = slice('zones', [
      endpoint(site.v4(1)[0]!, {}, { hints: { forNodes: [{ name: 'node2' }] } }),
      endpoint(site.v4(2)[0]!, {}, { hints: { forNodes: [{ name: 'node1' }] } }),
    ]);
    assert.deepEqual(await answers('zones', '10.96.2.3', spec, toNode), named(2));
  });

  test('ready endpoints first, then terminating ones that still serve, then nobody', async () => {
    const ready = { ready: true, serving: true, terminating: false };
    const draining = { ready: false, serving: true, terminating: true };
    const dead = { ready: false, serving: false, terminating: true };
    const starting = { ready: false, serving: false, terminating: false };
    const of = (...conditions: object[]) =>
      slice(
        'states',
        conditions.map((each, i) => endpoint(site.v4(i + 1)[0]!, each)),
      );
    const states = (...conditions: object[]) =>
      answers('states', '10.96.2.4', {}, of(...conditions));
    assert.deepEqual(await states(ready, draining, starting), named(1));
    assert.deepEqual(await states(starting, draining, dead), named(2));
    assert.deepEqual(await states(starting, dead, dead), ['ECONNREFUSED']);
    assert.deepEqual(await states(starting, draining, ready), named(3));
    assert.deepEqual(
      await states({}, { ready: null }, starting),
      named(1, 2),
      'absent means ready',
    );
    const published = { publishNotReadyAddresses: true };
    const all = of(starting, dead, ready);
    assert.deepEqual(await answers('states', '10.96.2.4', published, all), named(1, 2, 3));
    assert.deepEqual(await answers('states', '10.96.2.4', {}, all), named(3));
  });

  test('a frontend that two services ask for is the older one’s, and moves when that goes', async () => {
    const { product, client } = site;
    const claim = (name: string, day: number, number: number) => {
      const object = service(name, ['10.96.2.5']);
      const metadata = { ...object.metadata, creationTimestamp: `2026-01-0${day}T00:00:00Z` };
      return product.apply(`${name}.yaml`, { ...object, metadata }, slice(name, site.v4(number)));
    };
    await claim('younger', 2, 1);
    assert.equal(await client.pod('10.96.2.5', 80), named(1)[0]);
    await claim('older', 1, 2);
    assert.equal(await client.pod('10.96.2.5', 80), named(2)[0]);
    const [row] = await product.service('younger');
    assert.match(
      row!.problems.join(),
      /ClusterIP 10\.96\.2\.5:80\/TCP is taken: Service default\/older/,
    );
    product.remove('older.yaml');
    await product.until('the frontend to move', async () => {
      // It is one or the other at any moment, never nobody.
      const pod = await client.pod('10.96.2.5', 80);
      assert.ok(named(1, 2).includes(pod), pod);
      return pod === named(1)[0];
    });
  });
});
