import assert from 'node:assert/strict';
import { test } from 'node:test';
import { takesNodePorts } from '@heddle/objects';
import { service, typedNode } from '@heddle/objects/testing/objects';
import { recordOf } from '@heddle/objects/testing/records';
import fc from 'fast-check';
import { ModelCluster } from '../testing/cluster.ts';
import { nodePortAddresses } from './node-addresses.ts';

const own = ['127.0.0.1', '192.0.2.1', '10.244.1.1', 'fd00::1', 'fe80::1'];
const nodeOf = (...addresses: [string, string][]) => {
  const record = recordOf(typedNode('here', addresses));
  assert.ok(record.kind === 'node');
  return record;
};

test('NodePorts have frontends at the InternalIPs and ExternalIPs of the Node object', () => {
  const node = nodeOf(
    ['InternalIP', '192.0.2.1'],
    ['ExternalIP', '203.0.113.1'],
    ['Hostname', '10.244.1.1'],
  );
  assert.deepEqual(nodePortAddresses(own, node, undefined), ['192.0.2.1', '203.0.113.1']);
});

test('without addresses in the Node object NodePorts have frontends at all addresses of the network interfaces', () => {
  const all = ['10.244.1.1', '192.0.2.1', 'fd00::1'];
  assert.deepEqual(nodePortAddresses(own, undefined, undefined), all);
  assert.deepEqual(nodePortAddresses(own, nodeOf(['Hostname', 'here']), undefined), all);
});

test('with ranges NodePorts have frontends at the addresses in them, of interfaces and Node object', () => {
  const node = nodeOf(['InternalIP', '192.0.2.1'], ['ExternalIP', '203.0.113.1']);
  const within = (...ranges: string[]) => nodePortAddresses(own, node, ranges);
  assert.deepEqual(within('10.0.0.0/8', '203.0.113.0/24'), ['10.244.1.1', '203.0.113.1']);
  assert.deepEqual(within('0.0.0.0/0'), ['10.244.1.1', '192.0.2.1', '203.0.113.1']);
  assert.deepEqual(within('::/0'), ['fd00::1'], 'a range is of its family');
  assert.deepEqual(within('198.51.100.0/24'), []);
});

test('a change of the NodePort addresses changes only the rows with NodePorts', () => {
  const port = { type: 'NodePort', ports: [{ port: 80, nodePort: 30080 }] };
  const cluster = new ModelCluster(service('web', '10.96.0.1', port), service('shop', '10.96.0.2'));
  const keys = ({ upserted }: { upserted: readonly { key: string }[] }) =>
    upserted.map(({ key }) => key);
  const loopback = ['ClusterIP 10.96.0.1:80', 'NodePort 0.0.0.0:30080'];
  assert.deepEqual(keys(cluster.setNodePortRanges('198.51.100.0/24')), ['default/web:80/TCP/IPv4']);
  assert.deepEqual(cluster.frontends('web'), loopback, 'loopback always is served');
  const typed = typedNode('here', [['ExternalIP', '198.51.100.9']]);
  assert.deepEqual(keys(cluster.apply(typed)), ['default/web:80/TCP/IPv4']);
  assert.ok(cluster.frontends('web').includes('NodePort 198.51.100.9:30080'));
  // The same address with another type.
  assert.deepEqual(keys(cluster.setOwnAddresses('192.0.2.1', '198.51.100.9')), []);
  const internal = typedNode('here', [
    ['Hostname', '198.51.100.9'],
    ['InternalIP', '192.0.2.1'],
  ]);
  assert.deepEqual(keys(cluster.apply(internal)), ['default/web:80/TCP/IPv4']);
  assert.deepEqual(cluster.frontends('web')[1], 'NodePort 192.0.2.1:30080');
});

test('nodePortAddresses returns known addresses that take NodePorts, sorted and without duplicates', () => {
  const address = fc.constantFrom(...own, '203.0.113.1', '::1', '0.0.0.0');
  const type = fc.constantFrom('InternalIP', 'ExternalIP', 'Hostname');
  const range = fc.constantFrom('0.0.0.0/0', '::/0', '192.0.2.0/25', '127.0.0.0/8', 'fd00::/8');
  fc.assert(
    fc.property(
      fc.array(address),
      fc.array(fc.tuple(type, address)),
      fc.option(fc.array(range), { nil: undefined }),
      (devices, stated, ranges) => {
        const found = nodePortAddresses(devices, nodeOf(...stated), ranges);
        const known = [...devices, ...stated.map(([, each]) => each)];
        assert.deepEqual(found, [...new Set(found)].sort());
        for (const each of found) assert.ok(known.includes(each) && takesNodePorts(each), each);
        if (!ranges) {
          const some = known.some(takesNodePorts);
          assert.equal(found.length > 0, some, 'there is one as long as the node has one');
        }
      },
    ),
  );
});
