import assert from 'node:assert/strict';
import { test } from 'node:test';
import { namespace, networkPolicy } from '@heddle/objects/testing/policies';
import { judge } from '@heddle/policy';
import { node, pod } from '@heddle/policy/testing/objects';
import { parseAllDocuments } from 'yaml';
import { clusterOf } from '../testing/clusters.ts';
import { nodeRanges, type TenantRequest, tenantPolicies, tenantValues } from './tenants.ts';
import { yamlOf } from './yaml.ts';

/** Two namespaces of team a, one of team b, one of a team without a policy, and some without a team. */
const base = [
  namespace('a1', { team: 'a' }),
  namespace('a2', { team: 'a' }),
  namespace('b1', { team: 'b' }),
  namespace('new', { team: 'c' }),
  namespace('kube-system'),
  namespace('shared'),
  namespace('other'),
  node('n1', '192.0.2.1'),
  node('n2', '192.0.2.2'),
  pod('a1/x', '10.0.0.1,fd00::1'),
  pod('a1/y', '10.0.0.2,fd00::2', { node: 'n2' }),
  pod('a2/x', '10.0.0.3,fd00::3', { node: 'n2' }),
  pod('b1/x', '10.0.1.1,fd00::11'),
  pod('b1/y', '10.0.1.2,fd00::12', { node: 'n2' }),
  pod('new/x', '10.0.2.1'),
  pod('new/y', '10.0.2.2', { node: 'n2' }),
  pod('kube-system/dns', '10.0.3.1,fd00::31', { labels: 'k8s-app=kube-dns' }),
  pod('kube-system/admin', '10.0.3.2'),
  pod('shared/ingress', '10.0.4.1'),
  pod('other/x', '10.0.5.1'),
];
const request: TenantRequest = {
  ...{ label: 'team', values: ['a', 'b'], allowDns: true, shared: [], nodes: [] },
  ...{ allowUnlabelled: false, priority: 100 },
};
const [a1, a2, b1, fresh, dns, admin, shared, other] = [
  ...['10.0.0.1', '10.0.0.3', '10.0.1.2', '10.0.2.1'],
  ...['10.0.3.1', '10.0.3.2', '10.0.4.1', '10.0.5.1'],
] as const;

function reach(more: Partial<TenantRequest> = {}, ...objects: readonly unknown[]) {
  // The policies are read from the YAML that is printed.
  const yaml = yamlOf(tenantPolicies({ ...request, ...more }));
  const policies = parseAllDocuments(yaml).map((document) => document.toJS());
  const { world } = clusterOf(...base, ...objects, ...policies);
  for (const { problems } of world.policies.values()) assert.deepEqual(problems, []);
  return (from: string, to: string, service = 'TCP/80'): boolean => {
    const [protocol, port] = service.split('/');
    return judge(world, { from, to, protocol: protocol as 'TCP', port: Number(port ?? 0) }).allowed;
  };
}

test('two tenants cannot reach each other at any port, in any family, in either direction', () => {
  const can = reach();
  const of = (team: string) =>
    base.flatMap((object) => {
      const { kind, metadata, status } = object as {
        kind: string;
        metadata: { namespace: string };
        status: { podIPs: { ip: string }[] };
      };
      return kind === 'Pod' && metadata.namespace.startsWith(team)
        ? status.podIPs.map(({ ip }) => ip)
        : [];
    });
  let pairs = 0;
  for (const from of of('a')) {
    for (const to of of('b')) {
      if (from.includes(':') !== to.includes(':')) continue;
      pairs++;
      for (const service of [
        'TCP/1',
        'TCP/80',
        'TCP/65535',
        'UDP/53',
        'TCP/53',
        'SCTP/7',
        'other',
      ]) {
        assert.equal(can(from, to, service), false, `${from} ${to} ${service}`);
        assert.equal(can(to, from, service), false, `${to} ${from} ${service}`);
      }
    }
  }
  assert.equal(pairs, 12);
});

test('tenants reach themselves, DNS, nodes and addresses outside the cluster', () => {
  const can = reach();
  for (const [from, to] of [
    [a1, '10.0.0.2'],
    [a1, a2],
    ['10.0.1.1', b1],
  ] as const) {
    for (const service of ['TCP/80', 'UDP/9', 'other']) assert.equal(can(from, to, service), true);
  }
  assert.equal(can(a1, dns, 'UDP/53'), true);
  assert.equal(can(b1, dns, 'TCP/53'), true);
  assert.equal(can('fd00::1', 'fd00::31', 'UDP/53'), true);
  assert.equal(can(a1, dns, 'TCP/9153'), false);
  assert.equal(can(a1, admin, 'UDP/53'), false);
  assert.equal(can(a1, '192.0.2.2'), true);
  assert.equal(can(a1, '198.51.100.7'), true);
  assert.equal(can('198.51.100.7', a1), true);
});

test('other namespaces are isolated from tenants unless they are shared or unlabelled ones are allowed', () => {
  const can = reach({ shared: ['shared'] });
  assert.deepEqual([can(a1, other), can(other, a1)], [false, false]);
  assert.deepEqual([can(a1, shared), can(shared, b1)], [true, true]);
  const loose = reach({ allowUnlabelled: true });
  assert.deepEqual([loose(a1, other), loose(other, a1), loose(a1, b1)], [true, true, false]);
});

test('a tenant without a policy is isolated, from itself too', () => {
  const can = reach();
  assert.deepEqual([can(fresh, '10.0.2.2'), can(a1, fresh), can(fresh, a1)], [false, false, false]);
  assert.equal(can(fresh, dns, 'UDP/53'), true);
});

test('a shared namespace or that of DNS may have the label without losing its clients', () => {
  const labelled = namespace('kube-system', { team: 'b' });
  assert.equal(reach({}, labelled)(a1, dns, 'UDP/53'), true);
  const own = namespace('shared', { team: 'b' });
  assert.equal(reach({ shared: ['shared'] }, own)(a1, shared), true);
});

test('NetworkPolicies decide within a tenant, and DNS is allowed whatever they are', () => {
  const can = reach(
    {},
    networkPolicy('deny', { namespace: 'a1', policyTypes: ['Ingress', 'Egress'] }),
  );
  assert.equal(can(a2, a1), false);
  assert.equal(can(a1, dns, 'UDP/53'), true);
});

test('NodePorts of nodes are denied, because another node may hide the client', () => {
  const { world } = clusterOf(...base);
  const nodes = nodeRanges(world);
  assert.deepEqual(nodes, ['192.0.2.1/32', '192.0.2.2/32']);
  const can = reach({ nodes });
  assert.deepEqual(
    ['TCP/29999', 'TCP/30000', 'UDP/32767', 'SCTP/31000', 'TCP/6443'].map((port) =>
      can(a1, '192.0.2.2', port),
    ),
    [true, false, false, false, true],
  );
  assert.equal(can(a1, '198.51.100.7', 'TCP/30000'), true);
  const many = Array.from({ length: 26 }, (_, i) => `192.0.2.${i}/32`);
  assert.throws(
    () => tenantPolicies({ ...request, nodes: many }),
    /26 ranges of nodes, and a rule may have 25/,
  );
});

test('names are valid and different, and wrong requests have errors', () => {
  const names = tenantPolicies({
    ...request,
    label: 'example.com/Team',
    values: ['A', 'a', 'x_y'],
  });
  assert.deepEqual(
    names.map((each) => (each as { metadata: { name: string } }).metadata.name),
    [
      'tenant-example-com-team-a',
      'tenant-example-com-team-a-2',
      'tenant-example-com-team-x-y',
      'tenants-example-com-team',
    ],
  );
  assert.deepEqual(tenantValues(clusterOf(...base).world, 'team'), ['a', 'b', 'c']);
  assert.throws(
    () => tenantValues(clusterOf(...base).world, 'squad'),
    /no namespace has the label squad/,
  );
  assert.throws(
    () => tenantPolicies({ ...request, label: 'a b' }),
    /"a b" is not the key of a label/,
  );
  assert.throws(() => tenantPolicies({ ...request, priority: 1000 }), /from 0 to 999/);
  const wrong: [Partial<TenantRequest>, RegExp][] = [
    [{ values: ['a', 'b c'] }, /: "b c" is not the value of a label \(write e\.g\. a or team-a\)$/],
    [{ shared: ['Ingress'] }, /: "Ingress" is not a namespace \(write e\.g\. ingress-nginx\)$/],
    [{ nodes: ['192.0.2.1'] }, /: "192\.0\.2\.1" is not a range of addresses \(write e\.g\. 192/],
    [{ nodes: ['worker-1'] }, /: "worker-1" is not a range of addresses/],
  ];
  for (const [more, message] of wrong) {
    assert.throws(() => tenantPolicies({ ...request, ...more }), message);
  }
});
