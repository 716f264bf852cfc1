import assert from 'node:assert/strict';
import { test } from 'node:test';
import { node, service, slice } from '@heddle/objects/testing/objects';
import { ModelCluster } from '../testing/cluster.ts';

test('a ClusterIP service has one frontend: its address and port', () => {
  const cluster = new ModelCluster(service('web', '10.96.0.1'));
  assert.deepEqual(cluster.keys, ['default/web:80/TCP/IPv4']);
  assert.deepEqual(cluster.frontends('web'), ['ClusterIP 10.96.0.1:80']);
});

test('a dual-stack service has a row for each family', () => {
  const cluster = new ModelCluster(
    service('web', ['10.96.0.1', 'fd00:96::1']),
    slice('web', ['10.244.0.1']),
    slice('web', ['fd00:244::1'], { name: 'web-6' }),
  );
  assert.deepEqual(cluster.keys, ['default/web:80/TCP/IPv4', 'default/web:80/TCP/IPv6']);
  assert.deepEqual(cluster.frontends('default/web:80/TCP/IPv6'), ['ClusterIP fd00:96::1:80']);
  assert.deepEqual(cluster.active('default/web:80/TCP/IPv4'), ['10.244.0.1:8080']);
  assert.deepEqual(cluster.active('default/web:80/TCP/IPv6'), ['fd00:244::1:8080']);
});

test('each port has a row; one number on TCP and UDP is two ports', () => {
  const ports = [
    { name: 'dns', port: 53, protocol: 'UDP' },
    { name: 'dns-tcp', port: 53, protocol: 'TCP' },
  ];
  const cluster = new ModelCluster(service('dns', '10.96.0.10', { ports }));
  assert.deepEqual(cluster.keys, ['default/dns:dns-tcp/TCP/IPv4', 'default/dns:dns/UDP/IPv4']);
});

test('a NodePort has frontends at each address of the node and at the unspecified address', () => {
  const cluster = new ModelCluster(
    service('web', ['10.96.0.1', 'fd00:96::1'], {
      type: 'NodePort',
      ports: [{ port: 80, nodePort: 30080 }],
    }),
  );
  assert.deepEqual(cluster.frontends('web'), [
    'ClusterIP 10.96.0.1:80',
    'NodePort 192.0.2.1:30080',
    'NodePort 0.0.0.0:30080',
  ]);
  assert.deepEqual(cluster.frontends('default/web:80/TCP/IPv6'), [
    'ClusterIP fd00:96::1:80',
    'NodePort fd00::1:30080',
    'NodePort :::30080',
  ]);
});

test('NodePorts follow the addresses of the network interfaces and of the Node object', () => {
  const cluster = new ModelCluster(
    service('web', '10.96.0.1', { type: 'NodePort', ports: [{ port: 80, nodePort: 30080 }] }),
    service('shop', '10.96.0.2'),
  );
  const { upserted } = cluster.setOwnAddresses('192.0.2.7');
  assert.deepEqual(
    upserted.map(({ key }) => key),
    ['default/web:80/TCP/IPv4'],
  );
  cluster.apply(node('here', ['192.0.2.8']), node('elsewhere', ['192.0.2.9']));
  assert.deepEqual(cluster.frontends('web'), [
    'ClusterIP 10.96.0.1:80',
    'NodePort 192.0.2.8:30080',
    'NodePort 0.0.0.0:30080',
  ]);
  cluster.delete('node', 'here');
  assert.deepEqual(cluster.frontends('web'), [
    'ClusterIP 10.96.0.1:80',
    'NodePort 192.0.2.7:30080',
    'NodePort 0.0.0.0:30080',
  ]);
});

test('a load balancer address is a frontend unless its ipMode is Proxy', () => {
  const cluster = new ModelCluster(
    service('web', '10.96.0.1', {
      type: 'LoadBalancer',
      ingress: [
        { ip: '203.0.113.1' },
        { ip: '203.0.113.2', ipMode: 'VIP' },
        { ip: '203.0.113.3', ipMode: 'Proxy' },
        { hostname: 'lb.example' },
        { ip: 'fd00:203::1' },
      ],
    }),
  );
  assert.deepEqual(cluster.frontends('web'), [
    'ClusterIP 10.96.0.1:80',
    'LoadBalancer 203.0.113.1:80',
    'LoadBalancer 203.0.113.2:80',
  ]);
});

test('a load balancer with allocateLoadBalancerNodePorts: false has no NodePort frontends', () => {
  const cluster = new ModelCluster(
    service('web', '10.96.0.1', { type: 'LoadBalancer', allocateLoadBalancerNodePorts: false }),
  );
  assert.deepEqual(cluster.frontends('web'), ['ClusterIP 10.96.0.1:80']);
});

test('externalIPs are frontends of the row of their family', () => {
  const cluster = new ModelCluster(
    service('web', ['10.96.0.1', 'fd00:96::1'], { externalIPs: ['198.51.100.1', 'fd00:198::1'] }),
  );
  assert.deepEqual(cluster.frontends('web'), [
    'ClusterIP 10.96.0.1:80',
    'ExternalIP 198.51.100.1:80',
  ]);
  assert.deepEqual(cluster.frontends('default/web:80/TCP/IPv6'), [
    'ClusterIP fd00:96::1:80',
    'ExternalIP fd00:198::1:80',
  ]);
});

test('an address that a service names twice is one frontend', () => {
  const cluster = new ModelCluster(
    service('web', '10.96.0.1', {
      type: 'LoadBalancer',
      externalIPs: ['203.0.113.1', '203.0.113.1'],
      ingress: [{ ip: '203.0.113.1' }],
    }),
  );
  assert.deepEqual(cluster.frontends('web'), [
    'ClusterIP 10.96.0.1:80',
    'LoadBalancer 203.0.113.1:80',
  ]);
  assert.deepEqual(cluster.problems('web'), []);
});

test('of two ports of a service with one frontend the first has it, and the other has a problem', () => {
  // This happens if the load balancer's address is the node's own.
  const cluster = new ModelCluster(
    service('web', '10.96.0.1', {
      type: 'LoadBalancer',
      ingress: [{ ip: '192.0.2.1' }],
      ports: [
        { name: 'a', port: 80, nodePort: 443 },
        { name: 'b', port: 443, nodePort: 30443 },
      ],
    }),
  );
  assert.ok(cluster.frontends('default/web:a/TCP/IPv4').includes('NodePort 192.0.2.1:443'));
  assert.deepEqual(cluster.problems('default/web:b/TCP/IPv4'), [
    'LoadBalancer 192.0.2.1:443/TCP is taken: another port of this service has it',
  ]);
});

test('each row with a load balancer frontend has the loadBalancerSourceRanges of its family', () => {
  const spec = {
    type: 'LoadBalancer',
    loadBalancerSourceRanges: ['203.0.113.9/24', 'fd00:9::/32', '192.0.2.0/24'],
    externalIPs: ['203.0.113.7'],
    ports: [{ name: '', port: 80, nodePort: 30080 }],
  };
  const ingress = [{ ip: '203.0.113.1' }, { ip: 'fd00::203' }];
  const v4 = ['192.0.2.0/24', '203.0.113.0/24'];
  const v6 = ['fd00:9::/32'];
  const ips = ['10.96.0.1', 'fd00:96::1'];
  const cluster = new ModelCluster(service('bare', '10.96.0.2', spec));
  assert.deepEqual(cluster.row('bare').sourceRanges, []);
  for (const externalTrafficPolicy of ['Cluster', 'Local']) {
    for (const internalTrafficPolicy of ['Cluster', 'Local']) {
      const policies = { externalTrafficPolicy, internalTrafficPolicy };
      cluster.apply(service('web', ips, { ...spec, ingress, ...policies }));
      const found = cluster.keys
        .filter((key) => key.startsWith('default/web:'))
        .map((key) => cluster.row(key));
      const inner = internalTrafficPolicy === 'Local' ? 1 : 0;
      const outer = externalTrafficPolicy === 'Local' ? 1 : 0;
      assert.equal(found.length, 2 * (1 + inner + outer));
      for (const { key, family, frontends, sourceRanges } of found) {
        const isBalanced = frontends.some(({ kind }) => kind === 'LoadBalancer');
        assert.deepEqual(sourceRanges, isBalanced ? (family === 'IPv4' ? v4 : v6) : [], key);
      }
    }
  }
});

test('loadBalancerSourceRanges apply to an address that is both a load balancer’s and an externalIP', () => {
  const cluster = new ModelCluster(
    service('web', '10.96.0.1', {
      type: 'LoadBalancer',
      loadBalancerSourceRanges: ['192.0.2.0/24'],
      externalIPs: ['203.0.113.1'],
      ingress: [{ ip: '203.0.113.1' }],
    }),
  );
  assert.deepEqual(cluster.row('web').sourceRanges, ['192.0.2.0/24']);
  assert.ok(cluster.frontends('web').includes('LoadBalancer 203.0.113.1:80'));
});

test('a Service with an invalid source range keeps its last good version, or has no row without one', () => {
  const web = (ranges: string[]) =>
    service('web', '10.96.0.1', {
      type: 'LoadBalancer',
      loadBalancerSourceRanges: ranges,
      ingress: [{ ip: '203.0.113.1' }],
    });
  for (const range of ['192.0.2.0/33', '192.0.2/24', 'everybody', '']) {
    assert.deepEqual(new ModelCluster(web([range])).keys, []);
    const cluster = new ModelCluster(web(['192.0.2.0/24']));
    cluster.apply(web(['192.0.2.0/24', range]));
    assert.deepEqual(cluster.row('web').sourceRanges, ['192.0.2.0/24']);
  }
});
