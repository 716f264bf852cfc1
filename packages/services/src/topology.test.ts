import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endpoint, node, service, slice } from '@heddle/objects/testing/objects';
import { Cluster } from '../testing/cluster.ts';

const web = service('web', '10.96.0.1', { trafficDistribution: 'PreferClose' });
const here = node('here', ['192.0.2.1'], 'zone-a');

const inZones = slice('web', [
  endpoint('10.244.0.1', { zones: ['zone-a'] }),
  endpoint('10.244.0.2', { zones: ['zone-b'] }),
  endpoint('10.244.0.3', { zones: ['zone-b', 'zone-a'] }),
]);

test('endpoints hinted for the zone of this node are used, the others drain', () => {
  const cluster = new Cluster(here, web, inZones);
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080', '10.244.0.3:8080']);
  assert.deepEqual(cluster.draining('web'), ['10.244.0.2:8080']);
});

test('no endpoint for this zone, or no zone known: all are used', () => {
  const inC = node('here', ['192.0.2.1'], 'zone-c');
  assert.equal(new Cluster(inC, web, inZones).active('web').length, 3);
  assert.equal(new Cluster(node('here', []), web, inZones).active('web').length, 3);
  assert.equal(new Cluster(web, inZones).active('web').length, 3);
});

test('one ready endpoint without a hint, and hints are off', () => {
  const cluster = new Cluster(here, web, inZones, slice('web', ['10.244.0.9'], { name: 'web-2' }));
  assert.equal(cluster.active('web').length, 4);
  const unready = slice('web', [endpoint('10.244.0.9', { ready: false })], { name: 'web-2' });
  cluster.apply(unready);
  assert.equal(cluster.active('web').length, 2, 'one that is not ready needs no hint');
});

test('endpoints for this zone that are not ready do not count as a match', () => {
  const cluster = new Cluster(
    here,
    web,
    slice('web', [
      endpoint('10.244.0.1', { zones: ['zone-a'], ready: false }),
      endpoint('10.244.0.2', { zones: ['zone-b'] }),
    ]),
  );
  assert.deepEqual(cluster.active('web'), ['10.244.0.2:8080']);
});

test('node hints come before zone hints, if one is for this node', () => {
  const hints = (nodes: string[], zones: string[]) => ({ nodes, zones });
  const endpoints = (first: string) =>
    slice('web', [
      endpoint('10.244.0.1', hints([first], ['zone-b'])),
      endpoint('10.244.0.2', hints(['elsewhere'], ['zone-a'])),
    ]);
  const cluster = new Cluster(here, web, endpoints('here'));
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
  cluster.apply(endpoints('another'));
  assert.deepEqual(cluster.active('web'), ['10.244.0.2:8080'], 'none for this node: by zone');
});

test('a node that changes its zone changes the rows of hinted services only', () => {
  const cluster = new Cluster(
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

test('internalTrafficPolicy Local does not look at hints', () => {
  const cluster = new Cluster(
    here,
    service('web', '10.96.0.1', { internalTrafficPolicy: 'Local' }),
    slice('web', [
      endpoint('10.244.0.1', { node: 'here', zones: ['zone-b'] }),
      endpoint('10.244.0.2', { node: 'here', zones: ['zone-a'] }),
    ]),
  );
  assert.equal(cluster.active('web').length, 2);
});
