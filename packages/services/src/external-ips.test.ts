import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endpoint, node, service, slice } from '@heddle/objects/testing/objects';
import { ModelCluster, ProtectedCluster } from '../testing/cluster.ts';

const grabbing = (...externalIPs: string[]) => service('grab', '10.96.0.66', { externalIPs });
const onlyClusterIP = ['ClusterIP 10.96.0.66:80'];

test('an externalIP that no object has is served', () => {
  const cluster = new ModelCluster(grabbing('198.51.100.1'), node('elsewhere', ['192.0.2.2']));
  assert.deepEqual(cluster.frontends('grab'), [...onlyClusterIP, 'ExternalIP 198.51.100.1:80']);
  assert.deepEqual(cluster.problems('grab'), []);
});

test('an externalIP that is an address of this or another node is served, in both families', () => {
  const cluster = new ModelCluster(
    service('grab', ['10.96.0.66', 'fd00:96::66'], {
      externalIPs: ['192.0.2.1', '192.0.2.2', 'fd00::1', 'fd00::2'],
    }),
    node('here', ['192.0.2.1', 'fd00::1']),
    node('elsewhere', ['192.0.2.2', 'fd00::2']),
  );
  assert.deepEqual(cluster.frontends('grab'), [
    ...onlyClusterIP,
    'ExternalIP 192.0.2.1:80',
    'ExternalIP 192.0.2.2:80',
  ]);
  assert.deepEqual(cluster.frontends('default/grab:80/TCP/IPv6'), [
    'ClusterIP fd00:96::66:80',
    'ExternalIP fd00::1:80',
    'ExternalIP fd00::2:80',
  ]);
  assert.deepEqual(cluster.problems('grab'), []);
});

test('an externalIP that is an address of a node is served although a pod on the host network has it too', () => {
  const exporter = slice('exporter', ['192.0.2.1', '192.0.2.2']);
  const cluster = new ModelCluster(grabbing('192.0.2.1'), exporter);
  assert.deepEqual(cluster.problems('grab'), []);
  cluster.apply(grabbing('192.0.2.2'));
  assert.equal(cluster.problems('grab').length, 1, 'it may be a pod as long as no Node has it');
  cluster.apply(node('elsewhere', ['192.0.2.2']));
  assert.deepEqual(cluster.problems('grab'), []);
});

test('with externalIPs: protect an externalIP that is a node’s address is refused', () => {
  const cluster = new ProtectedCluster(grabbing('192.0.2.2'), node('elsewhere', ['192.0.2.2']));
  assert.deepEqual(cluster.frontends('grab'), onlyClusterIP);
  assert.deepEqual(cluster.problems('grab'), [
    'externalIP 192.0.2.2 is refused: it is an address of Node elsewhere',
  ]);
});

test('with externalIPs: protect an address of this node is refused without a Node object too', () => {
  const cluster = new ProtectedCluster(grabbing('192.0.2.1'));
  assert.deepEqual(cluster.frontends('grab'), onlyClusterIP);
  assert.deepEqual(cluster.problems('grab'), [
    'externalIP 192.0.2.1 is refused: it is an address of this node',
  ]);
});

test('a load balancer address that is a node’s is served, with externalIPs: protect too', () => {
  for (const make of [ModelCluster, ProtectedCluster]) {
    const cluster = new make(
      service('lb', '10.96.0.66', { type: 'LoadBalancer', ingress: [{ ip: '192.0.2.1' }] }),
    );
    assert.deepEqual(cluster.frontends('lb'), [...onlyClusterIP, 'LoadBalancer 192.0.2.1:80']);
  }
});

test('a load balancer address that is a ClusterIP or a pod’s is refused', () => {
  const balanced = (ip: string) =>
    service('lb', '10.96.0.66', { type: 'LoadBalancer', ingress: [{ ip }] });
  const cluster = new ModelCluster(
    balanced('10.96.0.2'),
    service('dns', '10.96.0.2'),
    slice('web', [endpoint('10.244.0.5', { node: 'elsewhere' })]),
  );
  assert.deepEqual(cluster.frontends('lb'), onlyClusterIP);
  assert.deepEqual(cluster.problems('lb'), [
    'load balancer 10.96.0.2 is refused: it is the ClusterIP of Service default/dns',
  ]);
  cluster.apply(balanced('10.244.0.5'));
  assert.deepEqual(cluster.problems('lb'), [
    'load balancer 10.244.0.5 is refused: it is the address of a pod in EndpointSlice default/web-1',
  ]);
  cluster.apply(slice('web', ['10.244.0.5']));
  assert.deepEqual(cluster.problems('lb'), [], 'an endpoint that a person wrote may lead to it');
});

test('an externalIP that is a pod’s address is refused', () => {
  const cluster = new ModelCluster(
    grabbing('10.244.0.5'),
    slice('web', ['10.244.0.4', '10.244.0.5']),
  );
  assert.deepEqual(cluster.problems('grab'), [
    "externalIP 10.244.0.5 is refused: it is an endpoint's address in EndpointSlice default/web-1",
  ]);
});

test('an externalIP that is the API server’s endpoint or ClusterIP is refused', () => {
  const cluster = new ModelCluster(
    grabbing('198.51.100.10', '10.96.0.1'),
    service('kubernetes', '10.96.0.1', { ports: [{ name: 'https', port: 443 }] }),
    slice('kubernetes', ['198.51.100.10'], { ports: [{ name: 'https', port: 6443 }] }),
  );
  assert.deepEqual(cluster.frontends('grab'), onlyClusterIP);
  assert.deepEqual(cluster.problems('grab'), [
    'externalIP 198.51.100.10 is refused: it is the address of the API server',
    'externalIP 10.96.0.1 is refused: it is the ClusterIP of Service default/kubernetes',
  ]);
});

test('an externalIP is refused only while another object has the address', () => {
  const cluster = new ProtectedCluster(grabbing('192.0.2.2'));
  assert.equal(cluster.frontends('grab').length, 2);
  cluster.apply(node('elsewhere', ['192.0.2.2']));
  assert.equal(cluster.frontends('grab').length, 1);
  cluster.apply(slice('web', ['192.0.2.2']));
  cluster.delete('node', 'elsewhere');
  assert.equal(cluster.frontends('grab').length, 1, 'a pod on the host network still has it');
  cluster.apply(slice('web', ['10.244.0.1']));
  assert.equal(cluster.frontends('grab').length, 2);
  cluster.setOwnAddresses('192.0.2.2');
  assert.equal(cluster.frontends('grab').length, 1);
  cluster.setOwnAddresses();
  assert.equal(cluster.frontends('grab').length, 2);
});

test('an externalIP is compared with other addresses in canonical form', () => {
  const cluster = new ProtectedCluster(
    service('grab', ['10.96.0.66', 'fd00:96::66'], { externalIPs: ['fd00:0:0::0002'] }),
    node('elsewhere', ['FD00::2']),
  );
  assert.equal(cluster.problems('default/grab:80/TCP/IPv6').length, 1);
});

test('a refused externalIP does not conflict with a service that may have the address', () => {
  const cluster = new ProtectedCluster(
    service('older', '10.96.0.2', {
      created: '2020-01-01T00:00:00Z',
      externalIPs: ['203.0.113.1'],
    }),
    node('elsewhere', ['203.0.113.1']),
    service('younger', '10.96.0.3', {
      created: '2024-01-01T00:00:00Z',
      type: 'LoadBalancer',
      ingress: [{ ip: '203.0.113.1' }],
    }),
  );
  assert.deepEqual(cluster.frontends('younger'), [
    'ClusterIP 10.96.0.3:80',
    'LoadBalancer 203.0.113.1:80',
  ]);
  assert.deepEqual(cluster.problems('younger'), []);
});
