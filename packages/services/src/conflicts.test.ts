import assert from 'node:assert/strict';
import { test } from 'node:test';
import { service } from '@heddle/objects/testing/objects';
import { Cluster } from '../testing/cluster.ts';

const old = { created: '2020-01-01T00:00:00Z' };
const young = { created: '2024-01-01T00:00:00Z' };

test('two services want one ClusterIP: the older keeps it, the other says so', () => {
  const cluster = new Cluster(service('a', '10.96.0.1', young), service('b', '10.96.0.1', old));
  assert.deepEqual(cluster.frontends('b'), ['ClusterIP 10.96.0.1:80']);
  assert.deepEqual(cluster.problems('b'), []);
  assert.deepEqual(cluster.frontends('a'), []);
  assert.deepEqual(cluster.problems('a'), [
    'ClusterIP 10.96.0.1:80/TCP is taken: Service default/b has it',
  ]);
});

test('of two of the same age the first by name keeps it; one without a date is the younger', () => {
  const same = new Cluster(service('b', '10.96.0.1'), service('a', '10.96.0.1'));
  assert.equal(same.frontends('a').length, 1);
  const dated = new Cluster(service('a', '10.96.0.1'), service('b', '10.96.0.1', young));
  assert.equal(dated.frontends('b').length, 1);
  assert.equal(dated.frontends('a').length, 0);
});

test('when the first goes or gives way, the other gets it', () => {
  const cluster = new Cluster(
    service('a', '10.96.0.1', old),
    service('b', '10.96.0.1', young),
    service('c', '10.96.0.1', young),
  );
  cluster.apply(service('a', '10.96.0.9', old));
  assert.deepEqual(cluster.frontends('b'), ['ClusterIP 10.96.0.1:80']);
  assert.deepEqual(cluster.problems('c'), [
    'ClusterIP 10.96.0.1:80/TCP is taken: Service default/b has it',
  ]);
  cluster.delete('service', 'default/b');
  assert.deepEqual(cluster.frontends('c'), ['ClusterIP 10.96.0.1:80']);
  assert.deepEqual(cluster.problems('c'), []);
});

test('a service that an older one joins loses what it had', () => {
  const cluster = new Cluster(service('b', '10.96.0.1', young));
  cluster.apply(service('a', '10.96.0.1', old));
  assert.deepEqual(cluster.frontends('b'), []);
});

test('the same address with another port or protocol is no conflict', () => {
  const cluster = new Cluster(
    service('a', '10.96.0.1'),
    service('b', '10.96.0.1', { ports: [{ port: 81 }] }),
    service('c', '10.96.0.1', { ports: [{ port: 80, protocol: 'UDP' }] }),
  );
  for (const key of cluster.keys) assert.equal(cluster.frontends(key).length, 1);
});

test('NodePorts are fought over like any frontend, and the rest of the service goes on', () => {
  const nodePort = { type: 'NodePort', ports: [{ port: 80, nodePort: 30080 }] };
  const cluster = new Cluster(
    service('a', '10.96.0.1', { ...old, ...nodePort }),
    service('b', '10.96.0.2', { ...young, ...nodePort }),
  );
  assert.equal(cluster.frontends('a').length, 3);
  assert.deepEqual(cluster.frontends('b'), ['ClusterIP 10.96.0.2:80']);
  assert.deepEqual(cluster.problems('b'), [
    'NodePort 192.0.2.1:30080/TCP is taken: Service default/a has it',
    'NodePort 0.0.0.0:30080/TCP is taken: Service default/a has it',
  ]);
});

test('a service that is left alone takes nothing from others', () => {
  const labels = { 'service.kubernetes.io/service-proxy-name': 'mesh' };
  const cluster = new Cluster(
    service('a', '10.96.0.1', { ...old, labels }),
    service('b', '10.96.0.1', young),
  );
  assert.deepEqual(cluster.problems('b'), []);
});
