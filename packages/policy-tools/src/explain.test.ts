import assert from 'node:assert/strict';
import { test } from 'node:test';
import { service, slice } from '@heddle/objects/testing/objects';
import { clusterNetworkPolicy, namespace, networkPolicy } from '@heddle/objects/testing/policies';
import { node, pod, selector } from '@heddle/policy/testing/objects';
import { clusterOf } from '../testing/clusters.ts';
import { ClusterObjects } from './cluster.ts';
import { explain } from './explain.ts';

const policy = networkPolicy('db', {
  ...{ namespace: 'shop', podSelector: selector('app=db') },
  ingress: [
    { from: [{ podSelector: selector('app=web') }], ports: [{ protocol: 'TCP', port: 5432 }] },
  ],
});
const base = [
  namespace('shop'),
  namespace('lab'),
  node('n1', '192.0.2.1'),
  pod('shop/web', '10.1.0.1,fd00::1', { labels: 'app=web' }),
  pod('shop/db', '10.1.0.2,fd00::2', { labels: 'app=db' }),
  pod('lab/job', '10.2.0.1', { labels: 'app=job' }),
  { ...pod('lab/agent', '192.0.2.1', { hostNetwork: true }) },
  service('db', '10.96.0.5', { namespace: 'shop', ports: [{ port: 80 }] }),
  slice('db', ['10.1.0.2'], { namespace: 'shop', ports: [{ port: 5432 }] }),
  policy,
];
const cluster = clusterOf(...base);
const ask = (from: string, to: string, port: number) =>
  explain(cluster, { from, to, port, protocol: 'TCP' });

test('an explanation names the rule that allows', () => {
  const [v4, v6, ...others] = ask('shop/web', 'shop/db', 5432);
  assert.equal(others.length, 0);
  assert.deepEqual([v4?.to.address, v6?.to.address], ['10.1.0.2', 'fd00::2']);
  assert.equal(v4?.allowed, true);
  assert.deepEqual(v4?.ingress.sentences, ['allowed by ingress[0] of NetworkPolicy shop/db']);
  assert.equal(v4?.ingress.rule?.matches, 'TCP/5432 from pods with app=web of namespace shop');
  assert.match(v4?.egress.sentences[0] ?? '', /no NetworkPolicy isolates shop\/web for egress/);
});

test('a default deny names the isolating policy, and the rule that failed on the port or the peer', () => {
  const [byPort] = ask('shop/web', 'shop/db', 22);
  assert.equal(byPort?.ingress.reason, 'default-deny');
  assert.deepEqual(byPort?.ingress.isolatedBy, ['NetworkPolicy shop/db']);
  assert.deepEqual(byPort?.ingress.sentences, [
    'NetworkPolicy shop/db isolates shop/db, and no rule of it allows this',
    'nearest: ingress[0] of NetworkPolicy shop/db has this peer, but allows TCP/5432 and not TCP/22',
  ]);
  const [byPeer] = ask('lab/job', 'shop/db', 5432);
  assert.deepEqual(
    byPeer?.ingress.nearest.map(({ differs }) => differs),
    ['peer'],
  );
  const [neither] = ask('lab/job', 'shop/db', 22);
  assert.deepEqual(neither?.ingress.nearest, []);
  assert.match(neither?.ingress.sentences[1] ?? '', /no rule of these policies comes near/);
});

test('a service is translated to its backends, by name and by ClusterIP', () => {
  for (const to of ['service/shop/db', '10.96.0.5']) {
    const [one] = ask('10.1.0.1', to, 80);
    assert.deepEqual([one?.to.address, one?.to.port, one?.allowed], ['10.1.0.2', 5432, true]);
    assert.equal(one?.to.service, 'shop/db');
  }
  assert.throws(
    () => ask('10.1.0.1', '10.96.0.5', 81),
    /it has no port TCP\/81 \(its ports are TCP\/80\)/,
  );
});

test('a NodePort is translated, by the Service or by what an agent serves', () => {
  const nodePort = service('front', '10.96.0.6', {
    ...{ namespace: 'shop', type: 'NodePort', ports: [{ port: 80, nodePort: 30080 }] },
  });
  const backends = slice('front', ['10.1.0.1'], { namespace: 'shop', ports: [{ port: 8080 }] });
  const to = (cluster: ClusterObjects, port: number) =>
    explain(cluster, { from: '198.51.100.7', to: '192.0.2.1', port, protocol: 'TCP' }).map(
      ({ to: each }) => `${each.address} ${each.port} ${each.service}`,
    );
  const own = clusterOf(...base, nodePort, backends);
  assert.deepEqual(to(own, 30080), ['10.1.0.1 8080 shop/front']);
  assert.deepEqual(to(own, 30081), ['192.0.2.1 30081 undefined']);
  const frontend = { service: 'shop/db', backends: [{ address: '10.1.0.2', port: 5432 }] };
  const served = new ClusterObjects([], new Map([['TCP 192.0.2.1 30081', frontend]]));
  assert.deepEqual(to(served.with([]), 30081), ['10.1.0.2 5432 shop/db']);
});

test('the own node of a pod is allowed, an external client is not', () => {
  assert.deepEqual(ask('n1', 'shop/db', 22)[0]?.ingress.reason, 'own-node');
  assert.equal(ask('198.51.100.7', 'shop/db', 22)[0]?.allowed, false);
  assert.equal(ask('shop/db', '10.1.0.2', 22)[0]?.ingress.reason, 'itself');
});

test('an end that is not known has an error with the names that are', () => {
  assert.throws(
    () => ask('shop/wep', 'shop/db', 1),
    /no pod, node or service has this name .*shop has web and db/,
  );
  assert.throws(
    () => ask('lab/agent', 'shop/db', 1),
    /policies do not select it, because it uses the host network/,
  );
  assert.throws(() => ask('10.2.0.1', 'fd00::2', 1), /different families/);
});

test('a policy in audit mode is explained as what it would do', () => {
  const audited = {
    ...policy,
    metadata: { ...policy.metadata, annotations: { 'heddle.io/policy-mode': 'audit' } },
  };
  const pass = clusterNetworkPolicy('pass', {
    ingress: [{ name: 'on', action: 'Pass', from: [{ namespaces: {} }] }],
  });
  const own = clusterOf(...base.slice(0, -1), audited, pass);
  const [one] = explain(own, { from: 'lab/job', to: 'shop/db', port: 22, protocol: 'TCP' });
  assert.equal(one?.allowed, true);
  assert.equal(one?.ingress.ifAuditedWereEnforced, false);
  assert.deepEqual(one?.ingress.sentences, [
    'ingress[0] "on" of ClusterNetworkPolicy pass passes it to the next tier',
    'no NetworkPolicy isolates shop/db for ingress, and no rule matches, so it is allowed',
    'if the policies in audit mode were enforced, it would be denied by default by NetworkPolicy shop/db',
  ]);
});

test('an address that was found by a name is explained with the rule that names it', () => {
  const egress = [
    { name: 'hosts', action: 'Accept', to: [{ domainNames: ['*.example.com'] }] },
    { name: 'rest', action: 'Deny', to: [{ networks: ['0.0.0.0/0'] }] },
  ];
  const own = clusterOf(...base, clusterNetworkPolicy('hosts', { egress }));
  const sentence = (...names: string[]) =>
    explain(own, { from: '10.1.0.1', to: '198.51.100.7', port: 443, protocol: 'TCP', names })[0]!
      .egress.sentences[0];
  assert.equal(
    sentence('api.example.com'),
    'allowed by egress[0] "hosts" of ClusterNetworkPolicy hosts',
  );
  assert.equal(sentence('example.org'), 'denied by egress[1] "rest" of ClusterNetworkPolicy hosts');
  assert.equal(sentence(), 'denied by egress[1] "rest" of ClusterNetworkPolicy hosts');
});

test('workloads without pods are pods without an address', () => {
  const deployment = (labels: object, spec: object = {}) => ({
    ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'api', namespace: 'shop' } },
    spec: { template: { metadata: { labels }, spec } },
  });
  const world = (...objects: unknown[]) => clusterOf(...base, ...objects).world;
  assert.deepEqual(
    world(deployment({ app: 'db', tier: 'x' })).pods.get('shop/api')?.labels.length,
    4,
  );
  // The pod shop/db is of this workload.
  assert.equal(world(deployment({ app: 'db' })).pods.has('shop/api'), false);
  const host = clusterOf(...base, deployment({ app: 'api' }, { hostNetwork: true }));
  assert.equal(host.unusedPods.get('shop/api'), 'it uses the host network');
});
