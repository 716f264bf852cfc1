import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pod, service, slice } from '@heddle/objects/testing/objects';
import { ModelCluster } from '../testing/cluster.ts';

const apiServer = 'the API server';
const ports = [{ port: 6443 }];
/** Returns a service with an address as externalIP, at the API server's port. */
const claiming = (address: string, more: object = {}) =>
  service('grab', ['10.96.0.66', 'fd00:96::66'], { ports, externalIPs: [address], ...more });
const key = (family: string) => `default/grab:6443/TCP/${family}`;

const ends = [
  { family: 'IPv4', own: '192.0.2.1', far: '198.51.100.10', loopback: '127.0.0.1', any: '0.0.0.0' },
  { family: 'IPv6', own: 'fd00::1', far: 'fd00:51::10', loopback: '::1', any: '::' },
] as const;

for (const { family, own, far, loopback, any } of ends) {
  test(`${family}: the address of a configured API server is refused at every port`, () => {
    const cluster = new ModelCluster();
    cluster.setReserved({ address: far, port: 6443, holder: apiServer });
    const balanced = { externalIPs: [], type: 'LoadBalancer', ingress: [{ ip: far }] };
    const ask = (more: object) => {
      cluster.apply(claiming(far, more));
      return cluster.frontends(cluster.keys.find((each) => each.endsWith(family))!).join();
    };
    for (const more of [{}, balanced, { ports: [{ port: 80 }] }]) {
      assert.ok(!ask(more).includes(far), JSON.stringify(more));
    }
    cluster.apply(claiming(far));
    assert.match(
      cluster.problems(key(family))[0]!,
      /is refused: port 6443\/TCP is reserved for the/,
    );
    cluster.setReserved();
    assert.ok(
      cluster.frontends(key(family)).includes(`ExternalIP ${far}:6443`),
      'it is free again',
    );
    assert.deepEqual(cluster.problems(key(family)), []);
  });

  test(`${family}: at an address of this node only the API server's port is reserved`, () => {
    const cluster = new ModelCluster(claiming(own));
    cluster.setReserved({ address: own, port: 6443, holder: apiServer });
    assert.ok(!cluster.frontends(key(family)).includes(`ExternalIP ${own}:6443`));
    cluster.apply(claiming(own, { ports: [{ port: 80 }] }));
    const other = `default/grab:80/TCP/${family}`;
    assert.ok(cluster.frontends(other).includes(`ExternalIP ${own}:80`));
    cluster.apply(claiming(own, { ports: [{ port: 6443, protocol: 'UDP' }] }));
    assert.ok(
      cluster.frontends(`default/grab:6443/UDP/${family}`).includes(`ExternalIP ${own}:6443`),
    );
  });

  test(`${family}: the endpoints of the API server's service are reserved, on this node and others`, () => {
    const endpoints = (...addresses: string[]) =>
      slice('kubernetes', addresses, {
        ports: [{ name: 'https', port: 6443 }],
        addressType: family,
      });
    const cluster = new ModelCluster(claiming(far), endpoints(far));
    assert.ok(!cluster.frontends(key(family)).includes(`ExternalIP ${far}:6443`));
    cluster.apply(endpoints(own));
    assert.ok(cluster.frontends(key(family)).includes(`ExternalIP ${far}:6443`));
    cluster.apply(claiming(own));
    assert.ok(!cluster.frontends(key(family)).includes(`ExternalIP ${own}:6443`));
  });

  test(`${family}: the port of an API server on loopback is refused to NodePorts and hostPorts`, () => {
    const at = (hostIP: string, hostPort = 6444) =>
      pod('web', family === 'IPv4' ? '10.244.0.1' : 'fd00:244::1', {
        ports: [{ containerPort: 80, hostPort, hostIP }],
      });
    const row = (name: string) => `default/pod/web:${name}/TCP/${family}`;
    const cluster = new ModelCluster(
      at(''),
      claiming(far, { type: 'NodePort', ports: [{ port: 80, nodePort: 6444 }] }),
    );
    cluster.delete('pod', 'default/web');
    cluster.setReserved({ address: loopback, port: 6444, holder: apiServer });
    const service80 = `default/grab:80/TCP/${family}`;
    assert.ok(cluster.frontends(service80).includes(`NodePort ${own}:6444`), 'others may');
    assert.ok(!cluster.frontends(service80).includes(`NodePort ${any}:6444`));
    cluster.delete('service', 'default/grab');
    cluster.apply(at(''));
    assert.deepEqual(cluster.frontends(row('6444')), [`HostPort ${own}:6444`]);
    assert.deepEqual(cluster.problems(row('6444')), [
      'HostPort is refused: port 6444/TCP is reserved for the API server',
    ]);
    const local = loopback.includes(':') ? `[${loopback}]` : loopback;
    cluster.apply(at(loopback));
    assert.deepEqual(cluster.frontends(row(`${local}:6444`)), []);
    assert.deepEqual(cluster.draining(row(`${local}:6444`)).length, 1);
  });
}

test("the agent's own ports are refused to hostPorts at every address of the node", () => {
  const cluster = new ModelCluster(
    pod('web', '10.244.0.1', { ports: [{ containerPort: 80, hostPort: 10256 }] }),
  );
  const row = 'default/pod/web:10256/TCP/IPv4';
  assert.equal(cluster.frontends(row).length, 2);
  const holder = "the agent's health checks (healthAddress)";
  cluster.setReserved({ address: '', port: 10256, holder });
  assert.deepEqual(cluster.frontends(row), []);
  assert.deepEqual(cluster.problems(row), [
    `HostPort is refused: port 10256/TCP is reserved for ${holder}`,
  ]);
  cluster.apply(
    pod('web', '10.244.0.1', { ports: [{ containerPort: 80, hostPort: 10256, protocol: 'UDP' }] }),
  );
  assert.equal(cluster.frontends('default/pod/web:10256/UDP/IPv4').length, 2, 'UDP is not TCP');
});

test("the ClusterIP of the API server's service is served although it is reserved", () => {
  const https = [{ name: 'https', port: 443 }];
  const cluster = new ModelCluster(
    service('kubernetes', '10.96.0.1', { ports: https }),
    service('grab', '10.96.0.66', { ports: https, externalIPs: ['10.96.0.1'] }),
  );
  cluster.setReserved({ address: '10.96.0.1', port: 443, holder: apiServer });
  assert.deepEqual(cluster.frontends('default/kubernetes:https/TCP/IPv4'), [
    'ClusterIP 10.96.0.1:443',
  ]);
  assert.deepEqual(cluster.frontends('default/grab:https/TCP/IPv4'), ['ClusterIP 10.96.0.66:443']);
});

test('a refused frontend does not conflict with an object that may have it', () => {
  const older = { created: '2020-01-01T00:00:00Z', ports: [{ port: 80 }] };
  const cluster = new ModelCluster(
    service('older', '10.96.0.2', { ...older, externalIPs: ['198.51.100.10'] }),
    service('younger', '10.96.0.3', { externalIPs: ['198.51.100.10'] }),
  );
  assert.equal(cluster.frontends('younger').length, 1);
  cluster.setReserved({ address: '198.51.100.10', port: 443, holder: apiServer });
  assert.deepEqual(cluster.frontends('older'), ['ClusterIP 10.96.0.2:80']);
  assert.deepEqual(cluster.problems('younger'), [
    'externalIP 198.51.100.10 is refused: it is the address of the API server',
  ]);
});
