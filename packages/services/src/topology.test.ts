import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endpoint, node, service, slice } from '@heddle/objects/testing/objects';
import { ModelCluster } from '../testing/cluster.ts';

const web = service('web', '10.96.0.1', { trafficDistribution: 'PreferClose' });
const here = node('here', ['192.0.2.1'], 'zone-a');

const inZones = slice('web', [
  endpoint('10.244.0.1', { zones: ['zone-a'] }),
  endpoint('10.244.0.2', { zones: ['zone-b'] }),
  endpoint('10.244.0.3', { zones: ['zone-b', 'zone-a'] }),
]);

test('endpoints hinted for the zone of this node are active, the others drain', () => {
  const cluster = new ModelCluster(here, web, inZones);
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080', '10.244.0.3:8080']);
  assert.deepEqual(cluster.draining('web'), ['10.244.0.2:8080']);
});

test('all endpoints are active if none is hinted for this zone or the zone is unknown', () => {
  const inC = node('here', ['192.0.2.1'], 'zone-c');
  assert.equal(new ModelCluster(inC, web, inZones).active('web').length, 3);
  assert.equal(new ModelCluster(node('here', []), web, inZones).active('web').length, 3);
  assert.equal(new ModelCluster(web, inZones).active('web').length, 3);
});

test('hints do not apply if a ready endpoint has none', () => {
  const cluster = new ModelCluster(
    here,
    web,
    inZones,
    slice('web', ['10.244.0.9'], { name: 'web-2' }),
  );
  assert.equal(cluster.active('web').length, 4);
  const unready = slice('web', [endpoint('10.244.0.9', { ready: false })], { name: 'web-2' });
  cluster.apply(unready);
  assert.equal(cluster.active('web').length, 2, 'one that is not ready needs no hint');
});

test('hints do not apply if the only endpoints for this zone are not ready', () => {
  const cluster = new ModelCluster(
    here,
    web,
    slice('web', [
      endpoint('10.244.0.1', { zones: ['zone-a'], ready: false }),
      endpoint('10.244.0.2', { zones: ['zone-b'] }),
    ]),
  );
  assert.deepEqual(cluster.active('web'), ['10.244.0.2:8080']);
});

test('node hints have precedence over zone hints if one is for this node', () => {
  const hints = (nodes: string[], zones: string[]) => ({ nodes, zones });
  const endpoints = (first: string) =>
    slice('web', [
      endpoint('10.244.0.1', hints([first], ['zone-b'])),
      endpoint('10.244.0.2', hints(['elsewhere'], ['zone-a'])),
    ]);
  const cluster = new ModelCluster(here, web, endpoints('here'));
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
  cluster.apply(endpoints('another'));
  assert.deepEqual(cluster.active('web'), ['10.244.0.2:8080'], 'none for this node: by zone');
});

test('a changed zone of the node changes only rows of services with hints', () => {
  const cluster = new ModelCluster(
    here,
    web,
    inZones,
    service('shop', '10.96.0.2'),
    slice('shop', ['10.244.0.7']),
  );
  const { upserted } = cluster.apply(node('here', ['192.0.2.1'], 'zone-b'));
  assert.deepEqual(
    upserted.map(({ name }) => name),
    ['web'],
  );
  assert.deepEqual(cluster.active('web'), ['10.244.0.2:8080', '10.244.0.3:8080']);
});

test('internalTrafficPolicy Local ignores hints', () => {
  const cluster = new ModelCluster(
    here,
    service('web', '10.96.0.1', { internalTrafficPolicy: 'Local' }),
    slice('web', [
      endpoint('10.244.0.1', { node: 'here', zones: ['zone-b'] }),
      endpoint('10.244.0.2', { node: 'here', zones: ['zone-a'] }),
    ]),
  );
  assert.equal(cluster.active('web').length, 2);
});
