import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { endpoint, service, slice } from '@heddle/objects/testing/objects';
import { ModelCluster } from '../testing/cluster.ts';

const web = service('web', '10.96.0.1');

test('a service without slices has a row without backends', () => {
  assert.deepEqual(new ModelCluster(web).row('web').backends, []);
});

test('slices that arrive before their service are used', () => {
  const cluster = new ModelCluster(slice('web', ['10.244.0.1']));
  assert.deepEqual(cluster.keys, []);
  cluster.apply(web);
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
});

test('several slices are merged and sorted; an endpoint in two of them counts once', () => {
  const cluster = new ModelCluster(
    web,
    slice('web', ['10.244.0.3', '10.244.0.1']),
    slice('web', ['10.244.0.2', '10.244.0.3'], { name: 'web-2' }),
  );
  assert.deepEqual(cluster.active('web'), [
    '10.244.0.1:8080',
    '10.244.0.2:8080',
    '10.244.0.3:8080',
  ]);
  cluster.delete('slice', 'default/web-1');
  assert.deepEqual(cluster.active('web'), ['10.244.0.2:8080', '10.244.0.3:8080']);
});

test('an endpoint that moves between slices counts in its best condition', () => {
  const cluster = new ModelCluster(
    web,
    slice('web', [endpoint('10.244.0.1', { ready: false })]),
    slice('web', [endpoint('10.244.0.1', { ready: true })], { name: 'web-2' }),
  );
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
  assert.deepEqual(cluster.draining('web'), []);
});

test('the target port matches by name and protocol of the service port', () => {
  const cluster = new ModelCluster(
    service('web', '10.96.0.1', {
      ports: [
        { name: 'http', port: 80 },
        { name: 'admin', port: 81 },
        { name: 'dns', port: 53, protocol: 'UDP' },
      ],
    }),
    slice('web', ['10.244.0.1'], {
      ports: [
        { name: 'http', port: 8080 },
        { name: 'admin', port: 9090 },
        { name: 'dns', port: 5353, protocol: 'TCP' },
      ],
    }),
  );
  assert.deepEqual(cluster.active('default/web:http/TCP/IPv4'), ['10.244.0.1:8080']);
  assert.deepEqual(cluster.active('default/web:admin/TCP/IPv4'), ['10.244.0.1:9090']);
  assert.deepEqual(cluster.active('default/web:dns/UDP/IPv4'), []);
});

test('a named target port may have a different number in each slice', () => {
  const cluster = new ModelCluster(
    service('web', '10.96.0.1', { ports: [{ name: 'http', port: 80 }] }),
    slice('web', ['10.244.0.1'], { ports: [{ name: 'http', port: 8080 }] }),
    slice('web', ['10.244.0.2'], { name: 'web-2', ports: [{ name: 'http', port: 8081 }] }),
  );
  assert.deepEqual(cluster.active('default/web:http/TCP/IPv4'), [
    '10.244.0.1:8080',
    '10.244.0.2:8081',
  ]);
});

test('an unnamed service port matches an empty or absent name in the slice', () => {
  for (const ports of [
    [{ name: '', port: 8080 }],
    [{ name: null, port: 8080 }],
    [{ port: 8080 }],
  ]) {
    const cluster = new ModelCluster(web, slice('web', ['10.244.0.1'], { ports }));
    assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
  }
  const named = slice('web', ['10.244.0.1'], { ports: [{ name: 'http', port: 8080 }] });
  assert.deepEqual(new ModelCluster(web, named).active('web'), []);
});

test('a slice port without a number has no backends', () => {
  const cluster = new ModelCluster(web, slice('web', ['10.244.0.1'], { ports: [{ name: '' }] }));
  assert.deepEqual(cluster.active('web'), []);
});

test('a slice that changes its service moves its endpoints', () => {
  const cluster = new ModelCluster(
    web,
    service('shop', '10.96.0.2'),
    slice('web', ['10.244.0.1'], { name: 'slice' }),
  );
  cluster.apply(slice('shop', ['10.244.0.1'], { name: 'slice' }));
  assert.deepEqual(cluster.active('web'), []);
  assert.deepEqual(cluster.active('shop'), ['10.244.0.1:8080']);
});

test('a slice of a service with the same name in another namespace is not used', () => {
  const cluster = new ModelCluster(web, slice('web', ['10.244.0.1'], { namespace: 'other' }));
  assert.deepEqual(cluster.active('web'), []);
});

test('an endpoint without conditions is ready', () => {
  const cluster = new ModelCluster(web, slice('web', [endpoint('10.244.0.1', {})]));
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
});

test('an endpoint that is not ready drains', () => {
  const cluster = new ModelCluster(
    web,
    slice('web', ['10.244.0.1', endpoint('10.244.0.2', { ready: false, serving: false })]),
  );
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
  assert.deepEqual(cluster.draining('web'), ['10.244.0.2:8080']);
});

test('a UDP endpoint that does not serve is removed while another one serves, else it drains', () => {
  const unserving = endpoint('10.244.0.2', { ready: false, serving: false });
  const leaving = endpoint('10.244.0.3', { ready: false, serving: true, terminating: true });
  const udp = (...endpoints: (string | typeof leaving)[]) =>
    slice('dns', endpoints, { ports: [{ port: 5353, protocol: 'UDP' }] });
  const cluster = new ModelCluster(
    service('dns', '10.96.0.10', { ports: [{ port: 53, protocol: 'UDP' }] }),
    udp('10.244.0.1', unserving, leaving),
  );
  const key = 'default/dns:53/UDP/IPv4';
  assert.deepEqual(cluster.active(key), ['10.244.0.1:5353']);
  assert.deepEqual(cluster.draining(key), ['10.244.0.3:5353'], 'it still serves');
  cluster.apply(udp(unserving));
  assert.deepEqual(cluster.draining(key), ['10.244.0.2:5353']);
});

test('a service without ready and serving endpoints has no active backend', () => {
  const cluster = new ModelCluster(
    web,
    slice('web', [
      endpoint('10.244.0.1', { ready: false, serving: false }),
      endpoint('10.244.0.2', { ready: false, serving: false, terminating: true }),
      endpoint('10.244.0.3', { ready: false, serving: true, terminating: false }),
    ]),
  );
  assert.deepEqual(cluster.active('web'), []);
  assert.equal(cluster.draining('web').length, 3);
});

test('publishNotReadyAddresses makes every endpoint active', () => {
  const cluster = new ModelCluster(
    service('web', '10.96.0.1', { publishNotReadyAddresses: true }),
    slice('web', ['10.244.0.1', endpoint('10.244.0.2', { ready: false, serving: false })]),
  );
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080', '10.244.0.2:8080']);
});

const terminating = { ready: false, serving: true, terminating: true };

test('a terminating endpoint drains while another one is ready', () => {
  const cluster = new ModelCluster(
    web,
    slice('web', ['10.244.0.1', endpoint('10.244.0.2', terminating)]),
  );
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
  assert.deepEqual(cluster.draining('web'), ['10.244.0.2:8080']);
});

test('terminating endpoints that still serve are active when no ready one is left', () => {
  const cluster = new ModelCluster(
    web,
    slice('web', [
      endpoint('10.244.0.1', terminating),
      endpoint('10.244.0.2', { ready: false, serving: false, terminating: true }),
      endpoint('10.244.0.3', { ready: false, serving: false }),
    ]),
  );
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
  assert.deepEqual(cluster.draining('web'), ['10.244.0.2:8080', '10.244.0.3:8080']);
});

const local = service('web', '10.96.0.1', { internalTrafficPolicy: 'Local' });

test('internalTrafficPolicy Local: the ClusterIP has the endpoints of this node', () => {
  const cluster = new ModelCluster(
    local,
    slice('web', [
      endpoint('10.244.0.1', { node: 'here' }),
      endpoint('10.244.1.1', { node: 'elsewhere' }),
      endpoint('10.244.2.1'),
    ]),
  );
  assert.deepEqual(cluster.keys, ['default/web:80/TCP/IPv4']);
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
});

test('internalTrafficPolicy Local: without an endpoint on this node the ClusterIP has no active backend', () => {
  const cluster = new ModelCluster(
    local,
    slice('web', [endpoint('10.244.1.1', { node: 'elsewhere' })]),
  );
  assert.deepEqual(cluster.active('web'), []);
});

test('internalTrafficPolicy Local: terminating endpoints on this node are used before ready ones on other nodes', () => {
  const cluster = new ModelCluster(
    local,
    slice('web', [
      endpoint('10.244.0.1', { ...terminating, node: 'here' }),
      endpoint('10.244.1.1', { node: 'elsewhere' }),
    ]),
  );
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
});

test('internalTrafficPolicy Local: frontends other than the ClusterIP have all endpoints', () => {
  const cluster = new ModelCluster(
    service('web', '10.96.0.1', {
      internalTrafficPolicy: 'Local',
      type: 'NodePort',
      ports: [{ port: 80, nodePort: 30080 }],
    }),
    slice('web', [
      endpoint('10.244.0.1', { node: 'here' }),
      endpoint('10.244.1.1', { node: 'elsewhere' }),
    ]),
  );
  const external = 'default/web:80/TCP/IPv4/external';
  assert.deepEqual(cluster.keys, ['default/web:80/TCP/IPv4', external]);
  assert.deepEqual(cluster.frontends('web'), ['ClusterIP 10.96.0.1:80']);
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
  assert.deepEqual(cluster.frontends(external), [
    'NodePort 192.0.2.1:30080',
    'NodePort 0.0.0.0:30080',
  ]);
  assert.deepEqual(cluster.active(external), ['10.244.0.1:8080', '10.244.1.1:8080']);
  cluster.apply(web);
  assert.deepEqual(cluster.keys, ['default/web:80/TCP/IPv4']);
});

test('internalTrafficPolicy changed from Cluster to Local: endpoints on other nodes drain', () => {
  const endpoints = slice('web', [
    endpoint('10.244.0.1', { node: 'here' }),
    endpoint('10.244.1.1', { node: 'elsewhere' }),
  ]);
  const cluster = new ModelCluster(web, endpoints);
  cluster.apply(local);
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
  assert.deepEqual(cluster.draining('web'), ['10.244.1.1:8080']);
});

describe('externalTrafficPolicy Local', () => {
  const outside = 'default/web:80/TCP/IPv4/outside';
  const spec = {
    type: 'NodePort',
    externalTrafficPolicy: 'Local',
    externalIPs: ['203.0.113.5'],
    ports: [{ port: 80, nodePort: 30080 }],
  };
  const both = slice('web', [
    endpoint('10.244.0.1', { node: 'here' }),
    endpoint('10.244.1.1', { node: 'elsewhere' }),
  ]);

  test('external packets get the endpoints of this node, other clients all endpoints', () => {
    const cluster = new ModelCluster(service('web', '10.96.0.1', spec), both);
    assert.deepEqual(cluster.keys, ['default/web:80/TCP/IPv4', outside]);
    assert.deepEqual(cluster.frontends('web'), [
      'ClusterIP 10.96.0.1:80',
      'ExternalIP 203.0.113.5:80',
      'NodePort 192.0.2.1:30080',
      'NodePort 0.0.0.0:30080',
    ]);
    assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080', '10.244.1.1:8080']);
    assert.equal(cluster.row('web').scope, 'everybody');
    assert.deepEqual(cluster.frontends(outside), [
      'ExternalIP 203.0.113.5:80',
      'NodePort 192.0.2.1:30080',
    ]);
    assert.deepEqual(cluster.active(outside), ['10.244.0.1:8080']);
    assert.deepEqual(cluster.draining(outside), ['10.244.1.1:8080']);
    assert.equal(cluster.row(outside).scope, 'outside');
    assert.equal(cluster.row(outside).silent, false);
  });

  test('the external row is silent if only other nodes have endpoints, and not if none has', () => {
    const cluster = new ModelCluster(
      service('web', '10.96.0.1', spec),
      slice('web', [endpoint('10.244.1.1', { node: 'elsewhere' })]),
    );
    assert.deepEqual(cluster.active(outside), []);
    assert.equal(cluster.row(outside).silent, true);
    cluster.apply(slice('web', []));
    assert.equal(cluster.row(outside).silent, false);
    assert.equal(cluster.row('web').silent, false);
  });

  test('with internalTrafficPolicy Local as well a port has three rows', () => {
    const cluster = new ModelCluster(
      service('web', '10.96.0.1', { ...spec, internalTrafficPolicy: 'Local' }),
      both,
    );
    assert.deepEqual(cluster.keys, [
      'default/web:80/TCP/IPv4',
      'default/web:80/TCP/IPv4/external',
      outside,
    ]);
    assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
    assert.equal(cluster.active('default/web:80/TCP/IPv4/external').length, 2);
    assert.deepEqual(cluster.active(outside), ['10.244.0.1:8080']);
  });

  test('adds no row to a service without external frontends', () => {
    const cluster = new ModelCluster(
      service('web', '10.96.0.1', { externalTrafficPolicy: 'Local' }),
      both,
    );
    assert.deepEqual(cluster.keys, ['default/web:80/TCP/IPv4']);
  });
});
