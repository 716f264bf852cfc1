import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { endpoint, service, slice } from '@heddle/objects/testing/objects';
import { Cluster } from '../testing/cluster.ts';

const web = service('web', '10.96.0.1');

test('a service without slices has a row without backends', () => {
  assert.deepEqual(new Cluster(web).row('web').backends, []);
});

test('slices may come before their service', () => {
  const cluster = new Cluster(slice('web', ['10.244.0.1']));
  assert.deepEqual(cluster.keys, []);
  cluster.apply(web);
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
});

test('several slices are merged and sorted; an endpoint in two of them counts once', () => {
  const cluster = new Cluster(
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
  const cluster = new Cluster(
    web,
    slice('web', [endpoint('10.244.0.1', { ready: false })]),
    slice('web', [endpoint('10.244.0.1', { ready: true })], { name: 'web-2' }),
  );
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
  assert.deepEqual(cluster.draining('web'), []);
});

test('the target port is found by the name of the service port and its protocol', () => {
  const cluster = new Cluster(
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

test('a named target port may be another number in another slice', () => {
  const cluster = new Cluster(
    service('web', '10.96.0.1', { ports: [{ name: 'http', port: 80 }] }),
    slice('web', ['10.244.0.1'], { ports: [{ name: 'http', port: 8080 }] }),
    slice('web', ['10.244.0.2'], { name: 'web-2', ports: [{ name: 'http', port: 8081 }] }),
  );
  assert.deepEqual(cluster.active('default/web:http/TCP/IPv4'), [
    '10.244.0.1:8080',
    '10.244.0.2:8081',
  ]);
});

test('a port without a name is the port with an empty or absent name in the slice', () => {
  for (const ports of [
    [{ name: '', port: 8080 }],
    [{ name: null, port: 8080 }],
    [{ port: 8080 }],
  ]) {
    const cluster = new Cluster(web, slice('web', ['10.244.0.1'], { ports }));
    assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
  }
  const named = slice('web', ['10.244.0.1'], { ports: [{ name: 'http', port: 8080 }] });
  assert.deepEqual(new Cluster(web, named).active('web'), []);
});

test('a slice port without a number gives no backend', () => {
  const cluster = new Cluster(web, slice('web', ['10.244.0.1'], { ports: [{ name: '' }] }));
  assert.deepEqual(cluster.active('web'), []);
});

test('a slice that changes its service moves its endpoints', () => {
  const cluster = new Cluster(
    web,
    service('shop', '10.96.0.2'),
    slice('web', ['10.244.0.1'], { name: 'slice' }),
  );
  cluster.apply(slice('shop', ['10.244.0.1'], { name: 'slice' }));
  assert.deepEqual(cluster.active('web'), []);
  assert.deepEqual(cluster.active('shop'), ['10.244.0.1:8080']);
});

test('a slice of a service with the same name in another namespace is not taken', () => {
  const cluster = new Cluster(web, slice('web', ['10.244.0.1'], { namespace: 'other' }));
  assert.deepEqual(cluster.active('web'), []);
});

test('conditions that a slice leaves out are those of a ready endpoint', () => {
  const cluster = new Cluster(web, slice('web', [endpoint('10.244.0.1', {})]));
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
});

test('an endpoint that is not ready gets nothing new but keeps what it has', () => {
  const cluster = new Cluster(
    web,
    slice('web', ['10.244.0.1', endpoint('10.244.0.2', { ready: false, serving: false })]),
  );
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
  assert.deepEqual(cluster.draining('web'), ['10.244.0.2:8080']);
});

test('UDP to an endpoint that does not serve is cut, unless no other one serves either', () => {
  const unserving = endpoint('10.244.0.2', { ready: false, serving: false });
  const leaving = endpoint('10.244.0.3', { ready: false, serving: true, terminating: true });
  const udp = (...endpoints: (string | typeof leaving)[]) =>
    slice('dns', endpoints, { ports: [{ port: 5353, protocol: 'UDP' }] });
  const cluster = new Cluster(
    service('dns', '10.96.0.10', { ports: [{ port: 53, protocol: 'UDP' }] }),
    udp('10.244.0.1', unserving, leaving),
  );
  const key = 'default/dns:53/UDP/IPv4';
  assert.deepEqual(cluster.active(key), ['10.244.0.1:5353']);
  assert.deepEqual(cluster.draining(key), ['10.244.0.3:5353'], 'it still serves');
  cluster.apply(udp(unserving));
  assert.deepEqual(cluster.draining(key), ['10.244.0.2:5353']);
});

test('nothing ready and nothing serving: no active backend at all', () => {
  const cluster = new Cluster(
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

test('publishNotReadyAddresses makes every endpoint count as ready', () => {
  const cluster = new Cluster(
    service('web', '10.96.0.1', { publishNotReadyAddresses: true }),
    slice('web', ['10.244.0.1', endpoint('10.244.0.2', { ready: false, serving: false })]),
  );
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080', '10.244.0.2:8080']);
});

const terminating = { ready: false, serving: true, terminating: true };

test('a terminating endpoint drains while another one is ready', () => {
  const cluster = new Cluster(
    web,
    slice('web', ['10.244.0.1', endpoint('10.244.0.2', terminating)]),
  );
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
  assert.deepEqual(cluster.draining('web'), ['10.244.0.2:8080']);
});

test('terminating endpoints that still serve are used when nothing ready is left', () => {
  const cluster = new Cluster(
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

test('internalTrafficPolicy Local: the ClusterIP leads to the endpoints of this node', () => {
  const cluster = new Cluster(
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

test('internalTrafficPolicy Local without an endpoint here: nothing takes the connection', () => {
  const cluster = new Cluster(local, slice('web', [endpoint('10.244.1.1', { node: 'elsewhere' })]));
  assert.deepEqual(cluster.active('web'), []);
});

test('internalTrafficPolicy Local: terminating ones here are used before ready ones elsewhere', () => {
  const cluster = new Cluster(
    local,
    slice('web', [
      endpoint('10.244.0.1', { ...terminating, node: 'here' }),
      endpoint('10.244.1.1', { node: 'elsewhere' }),
    ]),
  );
  assert.deepEqual(cluster.active('web'), ['10.244.0.1:8080']);
});

test('internalTrafficPolicy Local says nothing of the other frontends: they have all endpoints', () => {
  const cluster = new Cluster(
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

test('switched from Cluster to Local, connections to other nodes drain', () => {
  const endpoints = slice('web', [
    endpoint('10.244.0.1', { node: 'here' }),
    endpoint('10.244.1.1', { node: 'elsewhere' }),
  ]);
  const cluster = new Cluster(web, endpoints);
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

  test('packets from outside find the endpoints of this node, everybody else all of them', () => {
    const cluster = new Cluster(service('web', '10.96.0.1', spec), both);
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

  test('without an endpoint here: silent, as another node answers; without any: refused', () => {
    const cluster = new Cluster(
      service('web', '10.96.0.1', spec),
      slice('web', [endpoint('10.244.1.1', { node: 'elsewhere' })]),
    );
    assert.deepEqual(cluster.active(outside), []);
    assert.equal(cluster.row(outside).silent, true);
    cluster.apply(slice('web', []));
    assert.equal(cluster.row(outside).silent, false);
    assert.equal(cluster.row('web').silent, false);
  });

  test('with internalTrafficPolicy Local as well, three rows', () => {
    const cluster = new Cluster(
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

  test('says nothing of a service that is not reached from outside', () => {
    const cluster = new Cluster(
      service('web', '10.96.0.1', { externalTrafficPolicy: 'Local' }),
      both,
    );
    assert.deepEqual(cluster.keys, ['default/web:80/TCP/IPv4']);
  });
});
