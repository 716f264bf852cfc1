import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { endpoint, node, service, slice } from '@heddle/objects/testing/objects';
import { ModelCluster } from '../testing/cluster.ts';

const spec = {
  type: 'LoadBalancer',
  externalTrafficPolicy: 'Local',
  healthCheckNodePort: 31000,
  ports: [{ port: 80, nodePort: 30080 }],
};
const web = service('web', '10.96.0.1', spec);
const here = (address: string, more = {}) => endpoint(address, { node: 'here', ...more });
const there = (address: string) => endpoint(address, { node: 'elsewhere' });

/** Returns the health checks of all rows, by key. */
function checks(cluster: ModelCluster): Record<string, unknown> {
  return Object.fromEntries(
    cluster.keys
      .map((key) => [key, cluster.row(key).healthCheck] as const)
      .filter(([, check]) => check !== undefined),
  );
}

describe('healthCheckNodePort', () => {
  const localEndpoints = (cluster: ModelCluster, key = 'web') =>
    cluster.row(key).healthCheck?.localEndpoints;

  test('a health check is in the first row with the number of ready endpoints on this node', () => {
    const cluster = new ModelCluster(
      web,
      slice('web', [here('10.244.0.1'), here('10.244.0.2'), there('10.244.1.1')]),
    );
    assert.deepEqual(checks(cluster), {
      'default/web:80/TCP/IPv4': { port: 31000, localEndpoints: 2 },
    });
  });

  test('a health check counts 0 without a ready endpoint on this node', () => {
    const cluster = new ModelCluster(web);
    assert.equal(localEndpoints(cluster), 0);
    cluster.apply(slice('web', [there('10.244.1.1')]));
    assert.equal(localEndpoints(cluster), 0);
    cluster.apply(slice('web', [here('10.244.0.1', { ready: false })]));
    assert.equal(localEndpoints(cluster), 0);
  });

  test('a health check does not count terminating endpoints, even if they get traffic', () => {
    const going = { ready: false, serving: true, terminating: true };
    const cluster = new ModelCluster(web, slice('web', [here('10.244.0.1', going)]));
    assert.deepEqual(cluster.active('default/web:80/TCP/IPv4/outside'), ['10.244.0.1:8080']);
    assert.equal(localEndpoints(cluster), 0);
  });

  test('a health check counts an unready endpoint if the service publishes unready addresses', () => {
    const cluster = new ModelCluster(
      service('web', '10.96.0.1', { ...spec, publishNotReadyAddresses: true }),
      slice('web', [here('10.244.0.1', { ready: false })]),
    );
    assert.equal(localEndpoints(cluster), 1);
  });

  test('a health check counts an endpoint once for all its ports, slices and families', () => {
    const ports = [
      { name: 'http', port: 80 },
      { name: 'dns', port: 53, protocol: 'UDP' },
    ];
    const served = { ports: ports.map(({ port, ...rest }) => ({ ...rest, port: port + 8000 })) };
    const cluster = new ModelCluster(
      service('web', ['10.96.0.1', 'fd00:96::1'], { ...spec, ports }),
      slice('web', [here('10.244.0.1'), here('10.244.0.2')], { name: 'a', ...served }),
      slice('web', [here('10.244.0.2')], { name: 'b', ...served }),
      slice('web', [here('fd00:244::1')], { name: 'c', ...served }),
    );
    assert.deepEqual(checks(cluster), {
      'default/web:http/TCP/IPv4': { port: 31000, localEndpoints: 2 },
    });
    // Pods with one port each are different endpoints.
    cluster.apply(
      slice('web', [here('10.244.0.1')], { name: 'a', ports: served.ports.slice(0, 1) }),
      slice('web', [here('10.244.0.3')], { name: 'b', ports: served.ports.slice(1) }),
    );
    assert.equal(localEndpoints(cluster, 'default/web:http/TCP/IPv4'), 2);
  });

  test('a health check does not depend on NodePorts and ingress addresses', () => {
    const cluster = new ModelCluster(
      service('web', '10.96.0.1', {
        ...{ ...spec, ports: [{ port: 80 }] },
        allocateLoadBalancerNodePorts: false,
      }),
      slice('web', [here('10.244.0.1')]),
    );
    assert.deepEqual(cluster.keys, ['default/web:80/TCP/IPv4']);
    assert.equal(localEndpoints(cluster), 1);
  });

  test('a health check changes the row if only its port or count changes', () => {
    const more = { serving: true, ready: false };
    const cluster = new ModelCluster(
      service('web', '10.96.0.1', spec),
      slice('web', [here('10.244.0.1'), there('10.244.1.1')]),
    );
    cluster.apply(service('web', '10.96.0.1', { ...spec, healthCheckNodePort: 31001 }));
    assert.deepEqual(cluster.row('web').healthCheck, { port: 31001, localEndpoints: 1 });
    cluster.apply(slice('web', [here('10.244.0.1', more), there('10.244.1.1')]));
    assert.equal(localEndpoints(cluster), 0);
    cluster.apply(
      service('web', '10.96.0.1', {
        ...spec,
        externalTrafficPolicy: 'Cluster',
        healthCheckNodePort: 0,
      }),
    );
    assert.deepEqual(checks(cluster), {});
  });

  test('a health check does not change when the node is about to be removed, as in kube-proxy', () => {
    const leaving = {
      ...node('here', ['192.0.2.1']),
      spec: { taints: [{ key: 'ToBeDeletedByClusterAutoscaler' }] },
    };
    const cluster = new ModelCluster(web, slice('web', [here('10.244.0.1')]), leaving);
    assert.equal(localEndpoints(cluster), 1);
  });

  test('a health check exists only for LoadBalancer services with externalTrafficPolicy Local', () => {
    const cluster = new ModelCluster(
      service('node', '10.96.0.2', { ...spec, type: 'NodePort' }),
      service('all', '10.96.0.3', { ...spec, externalTrafficPolicy: 'Cluster' }),
      service('none', 'None', { ...spec, ports: [{ port: 80 }] }),
    );
    assert.deepEqual(checks(cluster), {});
    assert.deepEqual(cluster.model.problems.size, 0);
  });

  test('a health check does not exist for a service of another proxy', () => {
    const labels = { 'service.kubernetes.io/service-proxy-name': 'other' };
    assert.deepEqual(
      checks(new ModelCluster(service('web', '10.96.0.1', { ...spec, labels }))),
      {},
    );
  });
});

describe('a health check port of several services', () => {
  const old = { created: '2024-01-01T00:00:00Z' };
  const other = service('api', '10.96.0.2', { ...spec, ports: [{ port: 80, nodePort: 30090 }] });

  test('a health check port belongs to the older service and, when that is deleted, to the next', () => {
    const cluster = new ModelCluster(service('web', '10.96.0.1', { ...spec, ...old }), other);
    assert.deepEqual(Object.keys(checks(cluster)), ['default/web:80/TCP/IPv4']);
    assert.deepEqual(cluster.problems('api'), [
      'healthCheckNodePort 31000 is taken: Service default/web has it',
    ]);
    cluster.delete('service', 'default/web');
    assert.deepEqual(Object.keys(checks(cluster)), ['default/api:80/TCP/IPv4']);
    assert.deepEqual(cluster.problems('api'), []);
  });

  test('a health check port conflicts with TCP NodePorts of any service, not with UDP NodePorts', () => {
    const nodePort = (protocol: string) =>
      service('api', '10.96.0.2', {
        type: 'NodePort',
        ports: [{ port: 80, protocol, nodePort: 31000 }],
      });
    const cluster = new ModelCluster(
      service('web', '10.96.0.1', { ...spec, ...old }),
      nodePort('TCP'),
    );
    assert.deepEqual(cluster.frontends('api'), ['ClusterIP 10.96.0.2:80']);
    assert.equal(cluster.problems('api').length, 2);
    cluster.setOwnAddresses('127.0.0.1', '192.0.2.1', '192.0.2.77');
    assert.equal(cluster.problems('api').length, 3, 'also at an address that came later');
    cluster.apply(nodePort('UDP'));
    assert.equal(cluster.frontends('default/api:80/UDP/IPv4').length, 4);
    cluster.apply(service('web', '10.96.0.1', { ...spec, ports: [{ port: 80, nodePort: 31000 }] }));
    assert.deepEqual(checks(cluster), {});
    assert.deepEqual(cluster.problems('web'), [
      'healthCheckNodePort 31000 is taken: another port of this service has it',
    ]);
  });
});
