import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endpoint, service, slice } from '@heddle/objects/testing/objects';
import { ModelCluster } from '../testing/cluster.ts';

const annotated = (annotations: Record<string, string>) =>
  service('web', '10.96.0.1', { annotations });
const endpoints = slice('web', [
  endpoint('10.244.0.1', { pod: 'web-0' }),
  endpoint('10.244.0.2', { pod: 'web-1' }),
  endpoint('10.244.0.3', { pod: 'web-2' }),
]);

test('the algorithm is random unless the annotation names another one', () => {
  assert.equal(new ModelCluster(service('web', '10.96.0.1')).row('web').algorithm, 'random');
  for (const name of ['random', 'round-robin', 'weighted', 'least-connections', 'maglev']) {
    const cluster = new ModelCluster(annotated({ 'heddle.io/algorithm': name }));
    assert.equal(cluster.row('web').algorithm, name);
    assert.deepEqual(cluster.problems('web'), []);
  }
});

test('an unknown algorithm is a problem of the row, and random is used', () => {
  const cluster = new ModelCluster(annotated({ 'heddle.io/algorithm': 'fastest' }));
  assert.equal(cluster.row('web').algorithm, 'random');
  assert.deepEqual(cluster.problems('web'), [
    'annotation heddle.io/algorithm is "fastest": must be one of random, round-robin, weighted, ' +
      'least-connections, maglev; random is used',
  ]);
});

test('weights are set by address or by pod name and default to 1', () => {
  const cluster = new ModelCluster(
    annotated({
      'heddle.io/algorithm': 'weighted',
      'heddle.io/weights': '10.244.0.1=10, web-1=20',
    }),
    endpoints,
  );
  const weights = cluster.row('web').backends.map(({ weight }) => weight);
  assert.deepEqual(weights, [10, 20, 1]);
});

test('weights of IPv6 addresses match in any notation', () => {
  const cluster = new ModelCluster(
    service('web', 'fd00:96::1', { annotations: { 'heddle.io/weights': 'FD00:0::1=7' } }),
    slice('web', ['fd00::1']),
  );
  assert.equal(cluster.row('default/web:80/TCP/IPv6').backends[0]!.weight, 7);
});

test('an invalid weight is a problem of the row, and the others apply', () => {
  for (const wrong of ['web-0=0', 'web-0=65536', 'web-0=-1', 'web-0', '=5', 'web-0=1.5']) {
    const cluster = new ModelCluster(
      annotated({ 'heddle.io/weights': `web-1=3,${wrong}` }),
      endpoints,
    );
    assert.deepEqual(
      cluster.row('web').backends.map(({ weight }) => weight),
      [1, 3, 1],
    );
    assert.equal(cluster.problems('web').length, 1, wrong);
    assert.match(cluster.problems('web')[0]!, /annotation heddle\.io\/weights has ".*": must be/);
  }
});

test('session affinity has a timeout of three hours by default', () => {
  const affinity = (more: object) => {
    const cluster = new ModelCluster(service('web', '10.96.0.1', { ...more }));
    return cluster.row('web').affinitySeconds;
  };
  const config = { clientIP: { timeoutSeconds: 60 } };
  assert.equal(affinity({}), 0);
  assert.equal(affinity({ sessionAffinity: 'None', sessionAffinityConfig: config }), 0);
  assert.equal(affinity({ sessionAffinity: 'ClientIP' }), 10800);
  assert.equal(affinity({ sessionAffinity: 'ClientIP', sessionAffinityConfig: config }), 60);
});

test('a changed annotation or affinity changes the row', () => {
  const cluster = new ModelCluster(service('web', '10.96.0.1'));
  const changes = cluster.apply(service('web', '10.96.0.1', { sessionAffinity: 'ClientIP' }));
  assert.equal(changes.upserted[0]!.affinitySeconds, 10800);
  assert.equal(cluster.apply(annotated({ 'heddle.io/algorithm': 'maglev' })).upserted.length, 1);
});
