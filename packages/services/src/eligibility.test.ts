import assert from 'node:assert/strict';
import { test } from 'node:test';
import { service, slice } from '@heddle/objects/testing/objects';
import { ModelCluster } from '../testing/cluster.ts';

const proxied = { labels: { 'service.kubernetes.io/service-proxy-name': 'mesh' } };

test('headless and ExternalName services and those of other proxies have no rows', () => {
  const cluster = new ModelCluster(
    service('headless', 'None'),
    service('outside', '', { type: 'ExternalName', externalName: 'example.org' }),
    service('meshed', '10.96.0.3', proxied),
    slice('headless', ['10.244.0.1']),
  );
  assert.deepEqual(cluster.keys, []);
});

test('a service with an empty proxy label has no rows', () => {
  const labels = { 'service.kubernetes.io/service-proxy-name': '' };
  assert.deepEqual(new ModelCluster(service('meshed', '10.96.0.3', { labels })).keys, []);
});

test('the label kubernetes.io/headless has no effect on rows', () => {
  const labels = { 'service.kubernetes.io/headless': '' };
  assert.equal(new ModelCluster(service('web', '10.96.0.3', { labels })).keys.length, 1);
});

test('rows follow the proxy label of a service when it is set and removed', () => {
  const cluster = new ModelCluster(service('web', '10.96.0.1'), slice('web', ['10.244.0.1']));
  assert.deepEqual(cluster.apply(service('web', '10.96.0.1', proxied)).removed, [
    'default/web:80/TCP/IPv4',
  ]);
  cluster.apply(service('web', '10.96.0.1'));
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
});

test('rows follow the type of a service when it becomes ExternalName and back', () => {
  const cluster = new ModelCluster(service('web', '10.96.0.1'), slice('web', ['10.244.0.1']));
  cluster.apply(service('web', '', { type: 'ExternalName', externalName: 'example.org' }));
  assert.deepEqual(cluster.keys, []);
  cluster.apply(service('web', '10.96.0.2'));
  assert.deepEqual(cluster.frontends('web'), ['ClusterIP 10.96.0.2:80']);
});
