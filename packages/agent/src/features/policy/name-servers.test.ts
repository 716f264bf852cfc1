import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SliceRecord } from '@heddle/objects';
import { NameServers } from './name-servers.ts';

function slice(namespace: string, service: string, ...addresses: string[]): SliceRecord {
  const conditions = { ready: true, serving: true, terminating: false };
  const where = { nodeName: '', target: '', zoneHints: [], nodeHints: [] };
  return {
    ...{ kind: 'slice', namespace, name: `${service}-1`, service, family: 'IPv4', ports: [] },
    endpoints: addresses.map((address) => ({ address, ...conditions, ...where })),
  };
}

test('the answers of the endpoints of kube-dns count', () => {
  const servers = new NameServers([]);
  assert.deepEqual([...servers.services], ['kube-system/kube-dns']);
  const dns = slice('kube-system', 'kube-dns', '10.7.0.2', '10.7.1.2');
  const other = slice('default', 'kube-dns', '10.7.0.9');
  assert.equal(servers.apply([{ op: 'set', object: other }]), false);
  assert.equal(servers.apply([{ op: 'set', object: dns }]), true);
  assert.deepEqual([...servers.addresses], ['10.7.0.2', '10.7.1.2']);
  const { kind, namespace, name } = dns;
  assert.equal(servers.apply([{ op: 'delete', kind, namespace, name }]), true);
  assert.deepEqual([...servers.addresses], []);
});

test('the configuration names other services, and addresses', () => {
  const servers = new NameServers(['192.0.2.53', 'dns/unbound']);
  servers.apply([
    { op: 'set', object: slice('kube-system', 'kube-dns', '10.7.0.2') },
    { op: 'set', object: slice('dns', 'unbound', '10.7.0.3') },
  ]);
  assert.deepEqual([...servers.addresses], ['192.0.2.53', '10.7.0.3']);
});
