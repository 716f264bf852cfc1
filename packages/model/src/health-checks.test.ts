import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster } from '../testing/cluster.ts';
import { endpoint, service, slice } from '../testing/objects.ts';

const spec = { type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: 31_000 };
const counted = (cluster: Cluster) =>
  Array.from(cluster.model.healthChecks.values(), ({ name, port, localEndpoints }) =>
    [name, port, localEndpoints].join(' '),
  );

test('a health check counts the ready endpoints of this node, each once', () => {
  const cluster = new Cluster(
    service('web', ['10.96.0.1', 'fd00:96::1'], spec),
    slice('web', [
      endpoint('10.244.0.1', { node: 'here' }),
      endpoint('10.244.0.2', { node: 'here', ready: false }),
      endpoint('10.244.1.1', { node: 'elsewhere' }),
      endpoint('10.244.9.9'),
    ]),
    slice('web', [endpoint('10.244.0.1', { node: 'here' })], { name: 'web-2' }),
  );
  assert.deepEqual(counted(cluster), ['web 31000 1']);
});

test('one that terminates counts no more, though it may still serve', () => {
  const terminating = { ready: false, serving: true, terminating: true, node: 'here' };
  const cluster = new Cluster(
    service('web', '10.96.0.1', spec),
    slice('web', [endpoint('10.244.0.1', terminating)]),
  );
  assert.deepEqual(counted(cluster), ['web 31000 0']);
  assert.equal(cluster.model.healthChecks.size, 1);
});

test('only a load balancer with externalTrafficPolicy Local has one, while it is there', () => {
  const cluster = new Cluster(
    service('web', '10.96.0.1', spec),
    service('node', '10.96.0.2', { ...spec, type: 'NodePort' }),
    service('all', '10.96.0.3', { ...spec, externalTrafficPolicy: 'Cluster' }),
    service('none', 'None', spec),
  );
  assert.deepEqual(counted(cluster), ['web 31000 0']);
  cluster.delete('service', 'default/web');
  assert.deepEqual(counted(cluster), []);
});
