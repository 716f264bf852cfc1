import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { endpoint, service, slice } from '../testing/objects.ts';
import { backendNames, distinct, ServiceLab } from '../testing/service-lab.ts';

describe('the endpoints of a service', () => {
  let setup: ServiceLab;
  before(async () => {
    setup = await ServiceLab.open('endpoints');
  });
  after(() => setup?.[Symbol.dispose]());

  /** Applies a service with these slices and returns the pods that reply. */
  async function answers(
    name: string,
    address: string,
    spec: object,
    ...slices: readonly object[]
  ): Promise<string[]> {
    await setup.agentLab.apply(`${name}.yaml`, service(name, [address], { ...spec }), ...slices);
    return distinct(await setup.client.pods(address, 80, 24));
  }

  test('several slices are merged, and an endpoint in two of them counts once', async () => {
    const both = await answers(
      ...(['merged', '10.96.2.1', {}] as const),
      slice('merged', setup.v4(1, 2)),
      slice('merged', setup.v4(2, 3), { name: 'merged-2' }),
    );
    assert.deepEqual(both, backendNames(1, 2, 3));
    const [row] = await setup.agentLab.service('merged');
    assert.equal(row!.endpoints.length, 3);
    // Usually slices are in separate files, which are read in any order.
    await setup.agentLab.apply('merged-3.yaml', slice('merged', setup.v4(3), { name: 'merged-3' }));
    const only = await answers(...(['merged', '10.96.2.1', {}] as const));
    assert.deepEqual(only, backendNames(3));
  });

  test('internalTrafficPolicy Local limits the ClusterIP to endpoints of the node, not the NodePort', async () => {
    const on = (nodeName: string, number: number) =>
      endpoint(setup.v4(number)[0]!, {}, { nodeName });
    const spec = {
      type: 'NodePort',
      internalTrafficPolicy: 'Local',
      ports: [{ port: 80, nodePort: 30180 }],
    };
    const address = '10.96.2.2';
    const local = slice('local', [on('node1', 1), on('node2', 2), on('node2', 3)]);
    assert.deepEqual(await answers('local', address, spec, local), backendNames(1));
    const nodePort = await setup.client.pods(setup.agentLab.node.addresses.v4, 30180, 40);
    assert.deepEqual(distinct(nodePort), backendNames(1, 2, 3));
    const remote = slice('local', [on('node2', 2), on('node2', 3)]);
    assert.deepEqual(await answers('local', address, spec, remote), ['ECONNREFUSED']);
    assert.deepEqual(
      await answers('local', address, { ...spec, internalTrafficPolicy: 'Cluster' }, remote),
      backendNames(2, 3),
    );
  });

  test("topology hints keep traffic in the node's zone and follow a changed zone", async () => {
    const node = (zone: string) =>
      setup.agentLab.apply('node.yaml', {
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name: 'node1', labels: { 'topology.kubernetes.io/zone': zone } },
      });
    const hinted = (number: number, zone?: string) =>
      endpoint(setup.v4(number)[0]!, {}, zone ? { hints: { forZones: [{ name: zone }] } } : {});
    const spec = { trafficDistribution: 'PreferClose' };
    const all = slice('zones', [hinted(1, 'east'), hinted(2, 'west'), hinted(3, 'west')]);
    await node('east');
    assert.deepEqual(await answers('zones', '10.96.2.3', spec, all), backendNames(1));
    await node('west');
    assert.deepEqual(distinct(await setup.client.pods('10.96.2.3', 80, 24)), backendNames(2, 3));
    await node('north');
    assert.deepEqual(distinct(await setup.client.pods('10.96.2.3', 80, 40)), backendNames(1, 2, 3));
    await node('east');
    const partly = slice('zones', [hinted(1, 'east'), hinted(2, 'west'), hinted(3)]);
    assert.deepEqual(await answers('zones', '10.96.2.3', spec, partly), backendNames(1, 2, 3));
    const toNode = slice('zones', [
      endpoint(setup.v4(1)[0]!, {}, { hints: { forNodes: [{ name: 'node2' }] } }),
      endpoint(setup.v4(2)[0]!, {}, { hints: { forNodes: [{ name: 'node1' }] } }),
    ]);
    assert.deepEqual(await answers('zones', '10.96.2.3', spec, toNode), backendNames(2));
  });

  test('ready endpoints are used, else terminating ones that serve, else connections are refused', async () => {
    const ready = { ready: true, serving: true, terminating: false };
    const draining = { ready: false, serving: true, terminating: true };
    const dead = { ready: false, serving: false, terminating: true };
    const starting = { ready: false, serving: false, terminating: false };
    const of = (...conditions: object[]) =>
      slice(
        'states',
        conditions.map((each, i) => endpoint(setup.v4(i + 1)[0]!, each)),
      );
    const states = (...conditions: object[]) =>
      answers('states', '10.96.2.4', {}, of(...conditions));
    assert.deepEqual(await states(ready, draining, starting), backendNames(1));
    assert.deepEqual(await states(starting, draining, dead), backendNames(2));
    assert.deepEqual(await states(starting, dead, dead), ['ECONNREFUSED']);
    assert.deepEqual(await states(starting, draining, ready), backendNames(3));
    assert.deepEqual(
      await states({}, { ready: null }, starting),
      backendNames(1, 2),
      'absent means ready',
    );
    const published = { publishNotReadyAddresses: true };
    const all = of(starting, dead, ready);
    assert.deepEqual(await answers('states', '10.96.2.4', published, all), backendNames(1, 2, 3));
    assert.deepEqual(await answers('states', '10.96.2.4', {}, all), backendNames(3));
  });

  test('a frontend of two services belongs to the older one, and to the other after its deletion', async () => {
    const { agentLab, client } = setup;
    const claim = (name: string, day: number, number: number) => {
      const object = service(name, ['10.96.2.5']);
      const metadata = { ...object.metadata, creationTimestamp: `2026-01-0${day}T00:00:00Z` };
      return agentLab.apply(`${name}.yaml`, { ...object, metadata }, slice(name, setup.v4(number)));
    };
    await claim('younger', 2, 1);
    assert.equal(await client.pod('10.96.2.5', 80), backendNames(1)[0]);
    await claim('older', 1, 2);
    assert.equal(await client.pod('10.96.2.5', 80), backendNames(2)[0]);
    const [row] = await agentLab.service('younger');
    assert.match(
      row!.problems.join(),
      /ClusterIP 10\.96\.2\.5:80\/TCP is taken: Service default\/older/,
    );
    agentLab.remove('older.yaml');
    await agentLab.until('the frontend to move', async () => {
      // At any time one of the two has it.
      const pod = await client.pod('10.96.2.5', 80);
      assert.ok(backendNames(1, 2).includes(pod), pod);
      return pod === backendNames(1)[0];
    });
  });
});
