import assert from 'node:assert/strict';
import { test } from 'node:test';
import { service } from '@heddle/objects/testing/objects';
import { ModelCluster } from '../testing/cluster.ts';

const old = { created: '2020-01-01T00:00:00Z' };
const young = { created: '2024-01-01T00:00:00Z' };

test('of two services with one ClusterIP the older has it, and the other has a problem', () => {
  const cluster = new ModelCluster(
    service('a', '10.96.0.1', young),
    service('b', '10.96.0.1', old),
  );
  assert.deepEqual(cluster.frontends('b'), ['ClusterIP 10.96.0.1:80']);
  assert.deepEqual(cluster.problems('b'), []);
  assert.deepEqual(cluster.frontends('a'), []);
  assert.deepEqual(cluster.problems('a'), [
    'ClusterIP 10.96.0.1:80/TCP is taken: Service default/b has it',
  ]);
});

test('of two services of the same age the first by name has the ClusterIP; one without a timestamp comes last', () => {
  const same = new ModelCluster(service('b', '10.96.0.1'), service('a', '10.96.0.1'));
  assert.equal(same.frontends('a').length, 1);
  const dated = new ModelCluster(service('a', '10.96.0.1'), service('b', '10.96.0.1', young));
  assert.equal(dated.frontends('b').length, 1);
  assert.equal(dated.frontends('a').length, 0);
});

test('when the first service is deleted or changes its ClusterIP, the other gets it', () => {
  const cluster = new ModelCluster(
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

test('a service loses its ClusterIP to an older service that appears', () => {
  const cluster = new ModelCluster(service('b', '10.96.0.1', young));
  cluster.apply(service('a', '10.96.0.1', old));
  assert.deepEqual(cluster.frontends('b'), []);
});

test('services with one address and different ports or protocols do not conflict', () => {
  const cluster = new ModelCluster(
    service('a', '10.96.0.1'),
    service('b', '10.96.0.1', { ports: [{ port: 81 }] }),
    service('c', '10.96.0.1', { ports: [{ port: 80, protocol: 'UDP' }] }),
  );
  for (const key of cluster.keys) assert.equal(cluster.frontends(key).length, 1);
});

test('a service that loses a NodePort keeps its other frontends', () => {
  const nodePort = { type: 'NodePort', ports: [{ port: 80, nodePort: 30080 }] };
  const cluster = new ModelCluster(
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

test('a service of another proxy does not conflict with others', () => {
  const labels = { 'service.kubernetes.io/service-proxy-name': 'mesh' };
  const cluster = new ModelCluster(
    service('a', '10.96.0.1', { ...old, labels }),
    service('b', '10.96.0.1', young),
  );
  assert.deepEqual(cluster.problems('b'), []);
});
