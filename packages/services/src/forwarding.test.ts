import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { endpoint, node, service, slice } from '@heddle/objects/testing/objects';
import { changeOf } from '@heddle/objects/testing/records';
import { Cluster } from '../testing/cluster.ts';
import { ServiceModel } from './service-model.ts';

const web = (forwarding?: string) =>
  service('web', '10.96.0.1', {
    type: 'NodePort',
    ports: [
      { name: 'tcp', port: 80, nodePort: 30080 },
      { name: 'udp', protocol: 'UDP', port: 80, nodePort: 30080 },
    ],
    annotations: forwarding === undefined ? {} : { 'heddle.io/forwarding': forwarding },
  });
const ports = [
  { name: 'tcp', port: 8080 },
  { name: 'udp', protocol: 'UDP', port: 8080 },
];
const endpoints = (...nodes: (string | undefined)[]) =>
  slice(
    'web',
    nodes.map((name, i) => endpoint(`10.244.0.${i + 1}`, name === undefined ? {} : { node: name })),
    { ports },
  );
const here = node('here', ['192.0.2.1', 'fd00::1', '198.51.100.1']);
const there = node('there', ['192.0.2.2', 'fd00::2']);

/** What the rows of the service say, by protocol, with the problem of the first. */
function said(cluster: Cluster) {
  const rows = ['tcp/TCP', 'udp/UDP'].map((port) => cluster.row(`default/web:${port}/IPv4`));
  return [...rows.map(({ forwarding }) => forwarding), ...rows[0]!.problems];
}

describe('how packets get to backends of other nodes', () => {
  test('is snat unless the annotation or the configuration says otherwise', () => {
    const nodes = [here, there, endpoints('here', 'there')];
    assert.deepEqual(said(new Cluster(...nodes, web())), ['snat', 'snat']);
    assert.deepEqual(said(new Cluster(...nodes, web('snat'))), ['snat', 'snat']);
    assert.deepEqual(said(new Cluster(...nodes, web('dsr'))), ['dsr', 'dsr']);
    assert.deepEqual(said(new Cluster(...nodes, web('hybrid'))), ['dsr', 'snat']);
    assert.deepEqual(said(new Cluster(...nodes, web('best'))), [
      ...['snat', 'snat'],
      'annotation heddle.io/forwarding is "best": must be one of snat, dsr, hybrid; ' +
        "the configuration's is used",
    ]);
  });

  test('the annotation wins over the configuration', () => {
    for (const [annotation, expected] of [
      [undefined, ['dsr', 'snat']],
      ['snat', ['snat', 'snat']],
      ['dsr', ['dsr', 'dsr']],
    ] as const) {
      const model = new ServiceModel({
        ...{ nodeName: 'here', ownAddresses: ['192.0.2.1'] },
        forwarding: 'hybrid',
      });
      model.apply([here, there, endpoints('there'), web(annotation)].map(changeOf));
      assert.deepEqual(
        [...model.rows()].map(({ forwarding }) => forwarding),
        expected,
      );
    }
  });

  test('a ClusterIP, to which only pods of the node come, is not tunnelled for', () => {
    const cluster = new Cluster(
      ...[here, there, slice('web', [endpoint('10.244.0.1')])],
      service('web', '10.96.0.1', { annotations: { 'heddle.io/forwarding': 'dsr' } }),
    );
    assert.equal(cluster.row('web').forwarding, 'snat');
    assert.deepEqual(cluster.problems('web'), []);
  });

  test('falls back to snat, and says why, while an endpoint is on no node that is known', () => {
    const cluster = new Cluster(here, endpoints('here', 'there'), web('dsr'));
    const unknown =
      'forwarding is snat, not dsr: endpoint 10.244.0.2 is on node there, which is not known';
    assert.deepEqual(said(cluster), ['snat', 'snat', unknown]);
    cluster.apply(there);
    assert.deepEqual(said(cluster), ['dsr', 'dsr']);
    cluster.delete('node', 'there');
    assert.deepEqual(said(cluster), ['snat', 'snat', unknown]);
    cluster.apply(endpoints('here', undefined));
    assert.deepEqual(said(cluster), [
      ...['snat', 'snat'],
      'forwarding is snat, not dsr: endpoint 10.244.0.2 is on no node (nodeName is absent)',
    ]);
  });

  test('an endpoint that gets nothing new does not matter', () => {
    const leaving = endpoint('10.244.0.9', { ready: false });
    const cluster = new Cluster(
      ...[here, there, web('dsr')],
      slice('web', [endpoint('10.244.0.1', { node: 'there' }), leaving], { ports }),
    );
    assert.deepEqual(said(cluster), ['dsr', 'dsr']);
  });

  test('falls back while the other nodes would not know this one', () => {
    const cluster = new Cluster(there, endpoints('there'), web('dsr'));
    const unknown =
      "forwarding is snat, not dsr: this node's Node object has no IPv4 address of this node";
    assert.deepEqual(said(cluster), ['snat', 'snat', unknown]);
    cluster.apply(node('here', ['fd00::1', '198.51.100.1']));
    assert.deepEqual(said(cluster), ['snat', 'snat', unknown]);
    cluster.setOwnAddresses('fd00::1', '198.51.100.1');
    assert.deepEqual(said(cluster), ['dsr', 'dsr']);
  });
});

describe('the ends of tunnels', () => {
  test('are the other nodes’ addresses, and those of this one that its Node object has', () => {
    const cluster = new Cluster(here, there, endpoints('there'), web('dsr'));
    assert.deepEqual(cluster.model.tunnelEnds, {
      peers: ['192.0.2.2', 'fd00::2'],
      own: ['192.0.2.1', 'fd00::1'],
    });
    const before = cluster.model.tunnelEnds;
    cluster.apply(here, endpoints('here'));
    assert.equal(cluster.model.tunnelEnds, before);
    cluster.apply(node('third', ['192.0.2.3', '127.0.0.1', '192.0.2.1']));
    assert.deepEqual(cluster.model.tunnelEnds.peers, ['192.0.2.2', '192.0.2.3', 'fd00::2']);
  });

  test('nobody is believed while no service asks for tunnels', () => {
    const cluster = new Cluster(here, there, endpoints('there'), web());
    assert.deepEqual(cluster.model.tunnelEnds.peers, []);
    cluster.apply(web('hybrid'));
    assert.deepEqual(cluster.model.tunnelEnds.peers, ['192.0.2.2', 'fd00::2']);
    cluster.delete('service', 'default/web');
    assert.deepEqual(cluster.model.tunnelEnds.peers, []);
  });
});
