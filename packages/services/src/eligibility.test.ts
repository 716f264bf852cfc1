import assert from 'node:assert/strict';
import { test } from 'node:test';
import { service, slice } from '@heddle/objects/testing/objects';
import { Cluster } from '../testing/cluster.ts';

const proxied = { labels: { 'service.kubernetes.io/service-proxy-name': 'mesh' } };

test('headless, ExternalName and otherwise proxied services have no rows', () => {
  const cluster = new Cluster(
    service('headless', 'None'),
    service('outside', '', { type: 'ExternalName', externalName: 'example.org' }),
    service('meshed', '10.96.0.3', proxied),
    slice('headless', ['10.244.0.1']),
  );
  assert.deepEqual(cluster.keys, []);
});

test('any value of the proxy label counts, also an empty one', () => {
  const labels = { 'service.kubernetes.io/service-proxy-name': '' };
  assert.deepEqual(new Cluster(service('meshed', '10.96.0.3', { labels })).keys, []);
});

test('the label kubernetes.io/headless on a service means nothing to a proxy', () => {
  const labels = { 'service.kubernetes.io/headless': '' };
  assert.equal(new Cluster(service('web', '10.96.0.3', { labels })).keys.length, 1);
});

test("a service that becomes another proxy's is dropped, and picked up again", () => {
  const cluster = new Cluster(service('web', '10.96.0.1'), slice('web', ['10.244.0.1']));
  assert.deepEqual(cluster.apply(service('web', '10.96.0.1', proxied)).removed, [
    'default/web:80/TCP/IPv4',
  ]);
  cluster.apply(service('web', '10.96.0.1'));
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
});

test('a service that changes its type is dropped and picked up', () => {
  const cluster = new Cluster(service('web', '10.96.0.1'), slice('web', ['10.244.0.1']));
  cluster.apply(service('web', '', { type: 'ExternalName', externalName: 'example.org' }));
  assert.deepEqual(cluster.keys, []);
  cluster.apply(service('web', '10.96.0.2'));
  assert.deepEqual(cluster.frontends('web'), ['ClusterIP 10.96.0.2:80']);
});
