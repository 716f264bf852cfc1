import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ObjectChange } from '@heddle/objects';
import { namespace, networkPolicy } from '@heddle/objects/testing/policies';
import type { PolicyRecord } from '@heddle/policy';
import { pod, selector, set } from '@heddle/policy/testing/objects';
import { clusterOf } from '../testing/clusters.ts';
import { diffFlows, diffPairs } from './diff.ts';
import { type Flow, judgeFlow } from './flows.ts';

const base = [
  namespace('shop'),
  pod('shop/web-1', '10.1.0.1', { labels: 'app=web' }),
  pod('shop/web-2', '10.1.0.2', { labels: 'app=web', node: 'n2' }),
  pod('shop/db', '10.1.0.3', { labels: 'app=db' }),
  {
    kind: 'Node',
    apiVersion: 'v1',
    metadata: { name: 'n2' },
    status: { addresses: [{ type: 'InternalIP', address: '192.0.2.2' }] },
  },
];
const allow = (app: string, port = 5432) =>
  networkPolicy('db', {
    ...{ namespace: 'shop', podSelector: selector('app=db') },
    ingress: [{ from: [{ podSelector: selector(app) }], ports: [{ protocol: 'TCP', port }] }],
  });
const flow = (
  client: string,
  backend: string,
  backendPort: number,
  more: Partial<Flow> = {},
): Flow => ({
  ...{ protocol: 'TCP', client, clientPort: 40000, backend, backendPort },
  ...{ frontend: backend, frontendPort: backendPort, source: client, ...more },
});
const flows = [
  flow('10.1.0.1', '10.1.0.3', 5432),
  flow('10.1.0.2', '10.1.0.3', 5432),
  flow('10.1.0.2', '10.1.0.3', 5432, { clientPort: 40001 }),
  flow('10.1.0.1', '10.1.0.3', 22),
];
const before = clusterOf(...base);
const after = (...policies: unknown[]) =>
  before.with(set(...policies) as ObjectChange<PolicyRecord>[]);

test('a difference names the connections that become denied, with the reason', () => {
  const diff = diffFlows(before, after(allow('app=web')), flows, 'n1');
  assert.deepEqual(diff, {
    connections: 4,
    changes: [
      {
        ...{ from: 'pod shop/web-1', to: 'pod shop/db', port: 'TCP/22' },
        ...{ allowed: false, connections: 1 },
        why: ['NetworkPolicy shop/db isolates shop/db, and no rule of it allows this'],
      },
    ],
  });
  const denied = diffFlows(before, after(allow('app=job')), flows, 'n1');
  assert.deepEqual(
    denied.changes.map(({ from, port, connections }) => `${from} ${port} ${connections}`),
    ['pod shop/web-2 TCP/5432 2', 'pod shop/web-1 TCP/5432 1', 'pod shop/web-1 TCP/22 1'],
  );
  assert.deepEqual(diffFlows(before, before, flows, 'n1').changes, []);
});

test('a deleted policy allows again, and the state before is not changed', () => {
  const isolated = clusterOf(...base, allow('app=job'));
  const { op, ...ref } = {
    op: 'delete' as const,
    kind: 'networkPolicy',
    namespace: 'shop',
    name: 'db',
  };
  const deleted = isolated.with([{ op, ...ref }]);
  const { changes } = diffFlows(isolated, deleted, flows, 'n1');
  assert.deepEqual([...new Set(changes.map(({ allowed }) => allowed))], [true]);
  assert.equal(isolated.world.policies.size, 1);
});

test('another node judges the source address that it sees', () => {
  const only = (cidr: string) =>
    after(
      networkPolicy('web', {
        namespace: 'shop',
        podSelector: selector('app=web'),
        ingress: [{ from: [{ ipBlock: { cidr } }] }],
      }),
    );
  const external = flow('203.0.113.9', '10.1.0.2', 8080, { source: '192.0.2.1' });
  const byClient = only('203.0.113.0/24');
  assert.equal(judgeFlow(byClient, external, 'n1').allowed, false);
  assert.equal(judgeFlow(byClient, external, 'n2').allowed, true);
  assert.equal(judgeFlow(only('192.0.2.1/32'), external, 'n1').allowed, true);
});

test('a difference of all pairs has the allowed ports of both states', () => {
  const pairs = diffPairs(clusterOf(...base, allow('app=web')), after(allow('app=web', 5433)), 100);
  assert.deepEqual(pairs, [
    { from: 'shop/web (2 pods)', to: 'shop/db', before: 'TCP/5432', after: 'TCP/5433' },
  ]);
  assert.equal(diffPairs(before, before, 3), undefined);
  assert.deepEqual(diffPairs(before, before, 100), []);
});
