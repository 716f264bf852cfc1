import assert from 'node:assert/strict';
import { test } from 'node:test';
import { namespace } from '@heddle/objects/testing/policies';
import { node, pod } from '@heddle/policy/testing/objects';
import fc from 'fast-check';
import { parseAllDocuments } from 'yaml';
import { clusterOf } from '../testing/clusters.ts';
import { type Flow, judgeFlow } from './flows.ts';
import { suggestPolicies } from './suggest.ts';

const base = [
  namespace('shop'),
  namespace('lab'),
  namespace('kube-system'),
  node('n1', '192.0.2.1'),
  node('n2', '192.0.2.2'),
  pod('shop/web-5d4-a', '10.1.0.1', { labels: 'app=web,pod-template-hash=5d4' }),
  pod('shop/web-5d4-b', '10.1.0.2', { labels: 'app=web,pod-template-hash=5d4', node: 'n2' }),
  pod('shop/db-0', '10.1.0.3', { labels: 'app=db,statefulset.kubernetes.io/pod-name=db-0' }),
  pod('shop/bare', '10.1.0.4'),
  pod('lab/job', '10.2.0.1', { labels: 'app=job', node: 'n2' }),
  pod('kube-system/dns', '10.3.0.1', { labels: 'k8s-app=kube-dns' }),
];
const cluster = clusterOf(...base);
const flow = (
  client: string,
  backend: string,
  backendPort: number,
  more: Partial<Flow> = {},
): Flow => ({
  ...{ protocol: 'TCP', client, clientPort: 40000, backend, backendPort },
  ...{ frontend: backend, frontendPort: backendPort, source: client, ...more },
});
const request = { namespace: 'shop', directions: ['ingress', 'egress'] as const, addDns: true };

test('suggested policies select workloads without hashes, and have a comment for each rule', () => {
  const flows = [
    flow('10.1.0.1', '10.1.0.3', 5432),
    flow('10.1.0.2', '10.1.0.3', 5432),
    flow('10.2.0.1', '10.1.0.3', 5432),
  ];
  const { policies, yaml, notes } = suggestPolicies(cluster, flows, request);
  const [db, web, ...others] = policies as { metadata: object; spec: Record<string, unknown> }[];
  assert.equal(others.length, 0);
  assert.deepEqual(db?.metadata, { name: 'db', namespace: 'shop' });
  assert.deepEqual(db?.spec.podSelector, { matchLabels: { app: 'db' } });
  const ports = [{ protocol: 'TCP', port: 5432 }];
  assert.deepEqual(db?.spec.ingress, [
    { from: [{ podSelector: { matchLabels: { app: 'web' } } }], ports },
    {
      from: [
        {
          namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'lab' } },
          podSelector: { matchLabels: { app: 'job' } },
        },
      ],
      ports,
    },
  ]);
  assert.equal((web!.spec.egress as object[]).length, 2);
  assert.match(
    yaml,
    / {4}# 2 connections: pod shop\/web-5d4-a > pod shop\/db-0, TCP\/5432 and pod shop\/web-5d4-b/,
  );
  assert.match(yaml, / {4}# DNS of the cluster; it was not seen/);
  assert.deepEqual(notes, ['no connection of shop/bare was seen, so there is no policy for it']);
  assert.deepEqual(
    parseAllDocuments(yaml).map((document) => document.toJS()),
    policies,
  );
});

test('external clients are ranges, nodes are addresses, and the own node needs no rule', () => {
  const clients = Array.from({ length: 9 }, (_, i) => flow(`203.0.113.${i}`, '10.1.0.1', 8080));
  const ranges = (...flows: Flow[]) => {
    const { policies } = suggestPolicies(cluster, flows, { ...request, directions: ['ingress'] });
    const { ingress } = (
      policies[0] as { spec: { ingress: { from: { ipBlock: { cidr: string } }[] }[] } }
    ).spec;
    return ingress.flatMap(({ from }) => from.map(({ ipBlock }) => ipBlock.cidr));
  };
  assert.deepEqual(ranges(...clients), ['0.0.0.0/0']);
  assert.deepEqual(ranges(clients[0]!, clients[1]!), ['203.0.113.0/32', '203.0.113.1/32']);
  assert.deepEqual(ranges(flow('192.0.2.2', '10.1.0.1', 1), flow('192.0.2.1', '10.1.0.1', 2)), [
    '192.0.2.2/32',
  ]);
  // Another node sees the translated source.
  assert.deepEqual(ranges(flow('203.0.113.9', '10.1.0.2', 8080, { source: '192.0.2.1' })), [
    '192.0.2.1/32',
  ]);
});

test('what no policy can be made of is a note', () => {
  const flows = [
    flow('10.1.0.1', '10.1.0.3', 0, { protocol: 'ICMP' }),
    flow('10.1.0.4', '10.1.0.3', 1),
  ];
  const { notes, policies } = suggestPolicies(cluster, flows, request);
  assert.equal(policies.length, 1);
  assert.match(notes.join('\n'), /ICMP was seen/);
  assert.match(
    notes.join('\n'),
    /pod shop\/bare has no labels of its own, so no policy can select it/,
  );
});

test('suggested policies allow whatever was seen', () => {
  const address = fc.constantFrom(
    ...['10.1.0.1', '10.1.0.2', '10.1.0.3', '10.2.0.1', '10.3.0.1', '203.0.113.9', '192.0.2.2'],
  );
  const some = fc.record({
    client: address,
    backend: address,
    backendPort: fc.integer({ min: 1, max: 5 }),
    protocol: fc.constantFrom('TCP' as const, 'UDP' as const),
  });
  let denied = 0;
  fc.assert(
    fc.property(fc.array(some, { minLength: 1, maxLength: 8 }), (parts) => {
      const flows = parts.map(({ client, backend, backendPort, protocol }) =>
        flow(client, backend, backendPort, { protocol }),
      );
      const { policies } = suggestPolicies(cluster, flows, request);
      const applied = clusterOf(...base, ...policies);
      for (const each of flows) assert.equal(judgeFlow(applied, each, 'n1').allowed, true);
      // Other connections are denied for the pods that have a policy.
      const other = flow('10.1.0.1', '10.1.0.3', 9);
      if (!judgeFlow(applied, other, 'n1').allowed) denied++;
    }),
    { numRuns: 200, seed: 13 },
  );
  assert.ok(denied > 100, `${denied}`);
});
