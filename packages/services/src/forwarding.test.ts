import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { endpoint, node, service, slice } from '@heddle/objects/testing/objects';
import { changeOf } from '@heddle/objects/testing/records';
import { ModelCluster } from '../testing/cluster.ts';
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

/** Returns the forwarding of the service's TCP and UDP rows and the problems of the first. */
function forwardingAndProblems(cluster: ModelCluster) {
  const rows = ['tcp/TCP', 'udp/UDP'].map((port) => cluster.row(`default/web:${port}/IPv4`));
  return [...rows.map(({ forwarding }) => forwarding), ...rows[0]!.problems];
}

describe('forwarding to backends on other nodes', () => {
  test('forwarding is snat by default, and set by the annotation or the configuration', () => {
    const nodes = [here, there, endpoints('here', 'there')];
    assert.deepEqual(forwardingAndProblems(new ModelCluster(...nodes, web())), ['snat', 'snat']);
    assert.deepEqual(forwardingAndProblems(new ModelCluster(...nodes, web('snat'))), [
      'snat',
      'snat',
    ]);
    assert.deepEqual(forwardingAndProblems(new ModelCluster(...nodes, web('dsr'))), ['dsr', 'dsr']);
    assert.deepEqual(forwardingAndProblems(new ModelCluster(...nodes, web('hybrid'))), [
      'dsr',
      'snat',
    ]);
    assert.deepEqual(forwardingAndProblems(new ModelCluster(...nodes, web('best'))), [
      ...['snat', 'snat'],
      'annotation heddle.io/forwarding is "best": must be one of snat, dsr, hybrid; ' +
        'the configured value is used',
    ]);
  });

  test('the annotation overrides the configuration', () => {
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

  test('a service with only a ClusterIP uses no tunnel', () => {
    const cluster = new ModelCluster(
      ...[here, there, slice('web', [endpoint('10.244.0.1')])],
      service('web', '10.96.0.1', { annotations: { 'heddle.io/forwarding': 'dsr' } }),
    );
    assert.equal(cluster.row('web').forwarding, 'snat');
    assert.deepEqual(cluster.problems('web'), []);
  });

  test('falls back to snat with a problem while an endpoint is on no known node', () => {
    const cluster = new ModelCluster(here, endpoints('here', 'there'), web('dsr'));
    const unknown =
      'forwarding is snat, not dsr: endpoint 10.244.0.2 is on node there, which is not known';
    assert.deepEqual(forwardingAndProblems(cluster), ['snat', 'snat', unknown]);
    cluster.apply(there);
    assert.deepEqual(forwardingAndProblems(cluster), ['dsr', 'dsr']);
    cluster.delete('node', 'there');
    assert.deepEqual(forwardingAndProblems(cluster), ['snat', 'snat', unknown]);
    cluster.apply(endpoints('here', undefined));
    assert.deepEqual(forwardingAndProblems(cluster), [
      ...['snat', 'snat'],
      'forwarding is snat, not dsr: endpoint 10.244.0.2 is on no node (nodeName is absent)',
    ]);
  });

  test('a draining endpoint on an unknown node does not cause a fallback', () => {
    const leaving = endpoint('10.244.0.9', { ready: false });
    const cluster = new ModelCluster(
      ...[here, there, web('dsr')],
      slice('web', [endpoint('10.244.0.1', { node: 'there' }), leaving], { ports }),
    );
    assert.deepEqual(forwardingAndProblems(cluster), ['dsr', 'dsr']);
  });

  test('falls back to snat while the Node object has no address of this node', () => {
    const cluster = new ModelCluster(there, endpoints('there'), web('dsr'));
    const unknown =
      "forwarding is snat, not dsr: this node's Node object has no IPv4 address of this node";
    assert.deepEqual(forwardingAndProblems(cluster), ['snat', 'snat', unknown]);
    cluster.apply(node('here', ['fd00::1', '198.51.100.1']));
    assert.deepEqual(forwardingAndProblems(cluster), ['snat', 'snat', unknown]);
    cluster.setOwnAddresses('fd00::1', '198.51.100.1');
    assert.deepEqual(forwardingAndProblems(cluster), ['dsr', 'dsr']);
  });
});

describe('tunnel addresses', () => {
  test('tunnel addresses are the other nodes’ addresses and this node’s addresses in its Node object', () => {
    const cluster = new ModelCluster(here, there, endpoints('there'), web('dsr'));
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

  test('no peer is accepted while no service needs tunnels', () => {
    const cluster = new ModelCluster(here, there, endpoints('there'), web());
    assert.deepEqual(cluster.model.tunnelEnds.peers, []);
    cluster.apply(web('hybrid'));
    assert.deepEqual(cluster.model.tunnelEnds.peers, ['192.0.2.2', 'fd00::2']);
    cluster.delete('service', 'default/web');
    assert.deepEqual(cluster.model.tunnelEnds.peers, []);
  });
});
