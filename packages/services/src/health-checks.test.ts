import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { endpoint, node, service, slice } from '@heddle/objects/testing/objects';
import { Cluster } from '../testing/cluster.ts';

const spec = {
  type: 'LoadBalancer',
  externalTrafficPolicy: 'Local',
  healthCheckNodePort: 31000,
  ports: [{ port: 80, nodePort: 30080 }],
};
const web = service('web', '10.96.0.1', spec);
const here = (address: string, more = {}) => endpoint(address, { node: 'here', ...more });
const there = (address: string) => endpoint(address, { node: 'elsewhere' });

/** Health checks of all rows, by key. */
function checks(cluster: Cluster): Record<string, unknown> {
  return Object.fromEntries(
    cluster.keys
      .map((key) => [key, cluster.row(key).healthCheck] as const)
      .filter(([, check]) => check !== undefined),
  );
}

describe('healthCheckNodePort', () => {
  const localEndpoints = (cluster: Cluster, key = 'web') =>
    cluster.row(key).healthCheck?.localEndpoints;

  test('stands at the first row with the number of ready endpoints on this node', () => {
    const cluster = new Cluster(
      web,
      slice('web', [here('10.244.0.1'), here('10.244.0.2'), there('10.244.1.1')]),
    );
    assert.deepEqual(checks(cluster), {
      'default/web:80/TCP/IPv4': { port: 31000, localEndpoints: 2 },
    });
  });

  test('without a ready endpoint here: none', () => {
    const cluster = new Cluster(web);
    assert.equal(localEndpoints(cluster), 0);
    cluster.apply(slice('web', [there('10.244.1.1')]));
    assert.equal(localEndpoints(cluster), 0);
    cluster.apply(slice('web', [here('10.244.0.1', { ready: false })]));
    assert.equal(localEndpoints(cluster), 0);
  });

  test('endpoints that terminate get traffic when nothing is ready, and do not count', () => {
    const going = { ready: false, serving: true, terminating: true };
    const cluster = new Cluster(web, slice('web', [here('10.244.0.1', going)]));
    assert.deepEqual(cluster.active('default/web:80/TCP/IPv4/outside'), ['10.244.0.1:8080']);
    assert.equal(localEndpoints(cluster), 0);
  });

  test('an unready endpoint counts when the service publishes unready addresses', () => {
    const cluster = new Cluster(
      service('web', '10.96.0.1', { ...spec, publishNotReadyAddresses: true }),
      slice('web', [here('10.244.0.1', { ready: false })]),
    );
    assert.equal(localEndpoints(cluster), 1);
  });

  test('an endpoint counts once, for all its ports, slices and families', () => {
    const ports = [
      { name: 'http', port: 80 },
      { name: 'dns', port: 53, protocol: 'UDP' },
    ];
    const served = { ports: ports.map(({ port, ...rest }) => ({ ...rest, port: port + 8000 })) };
    const cluster = new Cluster(
      service('web', ['10.96.0.1', 'fd00:96::1'], { ...spec, ports }),
      slice('web', [here('10.244.0.1'), here('10.244.0.2')], { name: 'a', ...served }),
      slice('web', [here('10.244.0.2')], { name: 'b', ...served }),
      slice('web', [here('fd00:244::1')], { name: 'c', ...served }),
    );
    assert.deepEqual(checks(cluster), {
      'default/web:http/TCP/IPv4': { port: 31000, localEndpoints: 2 },
    });
    // Pods that serve one port each are different endpoints.
    cluster.apply(
      slice('web', [here('10.244.0.1')], { name: 'a', ports: served.ports.slice(0, 1) }),
      slice('web', [here('10.244.0.3')], { name: 'b', ports: served.ports.slice(1) }),
    );
    assert.equal(localEndpoints(cluster, 'default/web:http/TCP/IPv4'), 2);
  });

  test('does not depend on NodePorts and ingress addresses', () => {
    const cluster = new Cluster(
      service('web', '10.96.0.1', {
        ...{ ...spec, ports: [{ port: 80 }] },
        allocateLoadBalancerNodePorts: false,
      }),
      slice('web', [here('10.244.0.1')]),
    );
    assert.deepEqual(cluster.keys, ['default/web:80/TCP/IPv4']);
    assert.equal(localEndpoints(cluster), 1);
  });

  test('a change of the number or of the port alone is a change of the row', () => {
    const more = { serving: true, ready: false };
    const cluster = new Cluster(
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

  test('the node that is about to go changes nothing, as for kube-proxy', () => {
    const leaving = {
      ...node('here', ['192.0.2.1']),
      spec: { taints: [{ key: 'ToBeDeletedByClusterAutoscaler' }] },
    };
    const cluster = new Cluster(web, slice('web', [here('10.244.0.1')]), leaving);
    assert.equal(localEndpoints(cluster), 1);
  });

  test('is only a LoadBalancer service’s with externalTrafficPolicy Local', () => {
    const cluster = new Cluster(
      service('node', '10.96.0.2', { ...spec, type: 'NodePort' }),
      service('all', '10.96.0.3', { ...spec, externalTrafficPolicy: 'Cluster' }),
      service('none', 'None', { ...spec, ports: [{ port: 80 }] }),
    );
    assert.deepEqual(checks(cluster), {});
    assert.deepEqual(cluster.model.problems.size, 0);
  });

  test('a service that Heddle leaves alone has none', () => {
    const labels = { 'service.kubernetes.io/service-proxy-name': 'other' };
    assert.deepEqual(checks(new Cluster(service('web', '10.96.0.1', { ...spec, labels }))), {});
  });
});

describe('a health check port that several ask for', () => {
  const old = { created: '2024-01-01T00:00:00Z' };
  const other = service('api', '10.96.0.2', { ...spec, ports: [{ port: 80, nodePort: 30090 }] });

  test('is the older service’s, and passes on when that goes', () => {
    const cluster = new Cluster(service('web', '10.96.0.1', { ...spec, ...old }), other);
    assert.deepEqual(Object.keys(checks(cluster)), ['default/web:80/TCP/IPv4']);
    assert.deepEqual(cluster.problems('api'), [
      'healthCheckNodePort 31000 is taken: Service default/web has it',
    ]);
    cluster.delete('service', 'default/web');
    assert.deepEqual(Object.keys(checks(cluster)), ['default/api:80/TCP/IPv4']);
    assert.deepEqual(cluster.problems('api'), []);
  });

  test('is no NodePort for TCP too, of another service or its own; UDP is another thing', () => {
    const nodePort = (protocol: string) =>
      service('api', '10.96.0.2', {
        type: 'NodePort',
        ports: [{ port: 80, protocol, nodePort: 31000 }],
      });
    const cluster = new Cluster(service('web', '10.96.0.1', { ...spec, ...old }), nodePort('TCP'));
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
