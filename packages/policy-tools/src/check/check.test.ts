import assert from 'node:assert/strict';
import { test } from 'node:test';
import { service, slice } from '@heddle/objects/testing/objects';
import { clusterNetworkPolicy, namespace, networkPolicy } from '@heddle/objects/testing/policies';
import { node, pod, selector } from '@heddle/policy/testing/objects';
import { checkLast } from '../../testing/clusters.ts';
import type { CheckedPolicy } from './check.ts';

const base = [
  namespace('shop', { team: 'a' }),
  namespace('lab', { team: 'b' }),
  namespace('kube-system'),
  node('n1', '192.0.2.1', 'zone=x'),
  pod('shop/web', '10.1.0.1', { labels: 'app=web', ports: 'http=8080' }),
  pod('shop/db', '10.1.0.2', { labels: 'app=db', ports: 'sql=5432,stats=9000/UDP' }),
  pod('lab/job', '10.2.0.1', { labels: 'app=job' }),
  pod('kube-system/dns', '10.3.0.1', { labels: 'k8s-app=kube-dns' }),
];
const policy = (name: string, more: object) => networkPolicy(name, { namespace: 'shop', ...more });
const check = (...objects: readonly unknown[]) => checkLast(...base, ...objects);
const codes = ({ findings }: CheckedPolicy) =>
  findings.map(({ code, severity, at }) => `${severity} ${code} ${at}`);
const messageOf = ({ findings }: CheckedPolicy) => findings[0]?.message ?? '';

test('a policy without mistakes has no findings, and names its pods and rules', () => {
  const ingress = [
    { from: [{ podSelector: selector('app=web') }], ports: [{ protocol: 'TCP', port: 5432 }] },
  ];
  const checked = check(policy('db', { podSelector: selector('app=db'), ingress }));
  assert.deepEqual(codes(checked), []);
  assert.deepEqual(checked.pods, ['shop/db']);
  assert.deepEqual(checked.directions, ['ingress']);
  assert.deepEqual(checked.rules, [
    {
      ...{ rule: 'ingress[0]', name: '', peerPods: 1 },
      text: 'allows TCP/5432 from pods with app=web of namespace shop',
    },
  ]);
});

test('a selector without pods is a warning, for the policy and for a peer', () => {
  const from = [
    { podSelector: selector('app=webb') },
    { namespaceSelector: selector('team=c') },
    { namespaceSelector: selector('team=b'), podSelector: selector('app=web') },
  ];
  const checked = check(policy('db', { podSelector: selector('app=dbb'), ingress: [{ from }] }));
  assert.deepEqual(
    codes(checked),
    [
      'warning selects-nothing spec.podSelector',
      ...Array(3).fill('warning peer-matches-nothing spec.ingress[0].from'),
      'note separate-peers spec.ingress[0].from',
    ].toSorted((a, b) => Number(a.startsWith('note')) - Number(b.startsWith('note'))),
  );
  const texts = checked.findings.map(({ message }) => message);
  assert.match(texts[0]!, /there are no pods with app=dbb of namespace shop \(4 pods are known\)/);
  assert.match(texts[2]!, /no namespace has team=c/);
  assert.match(texts[3]!, /no pod of lab matches: app=web/);
});

test('a range with ClusterIPs is a warning only if it misses their backends', () => {
  const objects = [
    { ...service('db', '10.96.0.5', { namespace: 'shop' }) },
    slice('db', ['10.1.0.2'], { namespace: 'shop' }),
  ];
  const to = (cidr: string) =>
    check(
      ...objects,
      policy('out', {
        ...{ podSelector: selector('app=web'), policyTypes: ['Egress'] },
        egress: [{ to: [{ ipBlock: { cidr } }] }, { to: [{ namespaceSelector: {} }] }],
      }),
    );
  assert.deepEqual(codes(to('10.96.0.0/16')), ['warning covers-cluster-ips spec.egress[0].to']);
  assert.match(
    messageOf(to('10.96.0.0/16')),
    /covers the ClusterIPs of shop\/db, and policies see/,
  );
  assert.deepEqual(codes(to('10.0.0.0/8')), []);
  assert.deepEqual(codes(to('0.0.0.0/0')), []);
});

test('a port without a protocol is a warning, with DNS for port 53', () => {
  const checked = check(
    policy('web', {
      podSelector: selector('app=web'),
      ingress: [{ ports: [{ port: 53 }, { protocol: 'UDP', port: 53 }] }],
    }),
  );
  assert.deepEqual(codes(checked), ['warning port-without-protocol spec.ingress[0].ports[0]']);
  assert.match(messageOf(checked), /it is TCP only; DNS needs UDP, too/);
});

test('a named port has to be one of a destination pod, with the protocol', () => {
  const ingress = (port: object) =>
    codes(check(policy('db', { podSelector: selector('app=db'), ingress: [{ ports: [port] }] })));
  assert.deepEqual(ingress({ protocol: 'TCP', port: 'sql' }), []);
  assert.deepEqual(ingress({ protocol: 'UDP', port: 'sql' }), [
    'warning no-such-port spec.ingress[0]',
  ]);
  assert.deepEqual(ingress({ protocol: 'TCP', port: 'sqll' }), [
    'warning no-such-port spec.ingress[0]',
  ]);
  const egress = (app: string) =>
    codes(
      check(
        policy('web', {
          ...{ podSelector: selector('app=web'), policyTypes: ['Egress'] },
          egress: [
            { to: [{ podSelector: selector(app) }], ports: [{ protocol: 'TCP', port: 'sql' }] },
            { to: [{ namespaceSelector: {} }], ports: [{ protocol: 'UDP', port: 53 }] },
          ],
        }),
      ),
    );
  assert.deepEqual(egress('app=db'), []);
  assert.deepEqual(egress('app=web'), ['warning no-such-port spec.egress[0]']);
});

test('unknown fields and parts that cannot be used are errors', () => {
  const checked = check(
    policy('web', {
      podSelector: selector('app=web'),
      ingress: [{ form: [], from: [{ podselector: {}, podSelector: {} }] }],
    }),
  );
  assert.deepEqual(codes(checked), [
    'error unknown-field spec.ingress[0].form',
    'error unknown-field spec.ingress[0].from[0].podselector',
  ]);
  const domains = check(
    clusterNetworkPolicy('no-web', {
      egress: [{ action: 'Deny', to: [{ domainNames: ['example.com'] }] }],
    }),
  );
  assert.equal(codes(domains)[0], 'error unusable spec.egress[0].to[0].domainNames');
  assert.match(messageOf(domains), /must be in a rule with Accept of the tier Admin/);
  const deny = { action: 'Deny', to: [{ namespaces: selector('team=lab') }] };
  const long = check(
    clusterNetworkPolicy('long', { egress: Array.from({ length: 26 }, () => deny) }),
  );
  assert.equal(codes(long)[0], 'error unusable spec.egress');
  assert.match(messageOf(long), /^spec\.egress is 26 rules: must have at most 25/);
});

test('pods that a policy cuts off from DNS are a warning', () => {
  const egress = (...rules: unknown[]) =>
    codes(
      check(
        policy('web', { podSelector: selector('app=web'), policyTypes: ['Egress'], egress: rules }),
      ),
    );
  const cutOff = ['warning dns-cut-off spec.egress'];
  const toDns = { namespaceSelector: {}, podSelector: selector('k8s-app=kube-dns') };
  assert.deepEqual(egress(), cutOff);
  assert.deepEqual(egress({ to: [toDns], ports: [{ protocol: 'TCP', port: 53 }] }), cutOff);
  assert.deepEqual(egress({ to: [toDns], ports: [{ protocol: 'UDP', port: 53 }] }), []);
  assert.deepEqual(egress({ to: [{ ipBlock: { cidr: '169.254.20.10/32' } }] }), []);
  const admin = clusterNetworkPolicy('dns', {
    egress: [{ action: 'Accept', to: [{ pods: toDns }] }],
  });
  const isolating = policy('web', { podSelector: selector('app=web'), policyTypes: ['Egress'] });
  assert.deepEqual(codes(check(admin, isolating)), []);
  // Without DNS servers among the objects, there is one as most clusters have it.
  const alone = checkLast(pod('shop/web', '10.1.0.1', { labels: 'app=web' }), isolating);
  assert.deepEqual(codes(alone), cutOff);
});

test('a rule is shadowed by rules before it in its tier, and by those of the tier Admin', () => {
  const rule = (action: string, to: object, name = '') => ({ name, action, to: [to] });
  const web = { pods: { namespaceSelector: selector('team=a'), podSelector: selector('app=web') } };
  const own = (...egress: unknown[]) => codes(check(clusterNetworkPolicy('rules', { egress })));
  assert.deepEqual(own(rule('Accept', web), rule('Accept', { namespaces: {} })), []);
  assert.deepEqual(own(rule('Accept', { namespaces: {} }), rule('Deny', web)), [
    'warning shadowed spec.egress[1]',
  ]);
  const ports = (...protocols: unknown[]) => ({ ...rule('Accept', web), protocols });
  const tcp = (start: number, end: number) => ({
    tcp: { destinationPort: { range: { start, end } } },
  });
  assert.deepEqual(own(ports(tcp(1, 100), tcp(200, 300)), ports(tcp(80, 90), tcp(250, 260))), [
    'warning shadowed spec.egress[1]',
  ]);
  assert.deepEqual(own(ports(tcp(1, 100)), ports(tcp(80, 101))), []);

  const allow = policy('db', {
    podSelector: selector('app=db'),
    ingress: [{ from: [{ podSelector: selector('app=web') }] }],
  });
  const deny = (more: object) =>
    clusterNetworkPolicy('deny', {
      ingress: [{ action: 'Deny', from: [{ namespaces: {} }] }],
      ...more,
    });
  const shadowed = ['warning shadowed spec.ingress[0]'];
  assert.deepEqual(codes(check(deny({}), allow)), shadowed);
  assert.deepEqual(codes(check(deny({ subject: { namespaces: selector('team=b') } }), allow)), []);
  assert.deepEqual(codes(check(deny({ tier: 'Baseline' }), allow)), []);
  assert.deepEqual(
    codes(check(deny({ annotations: { 'heddle.io/policy-mode': 'audit' } }), allow)),
    [],
  );
  const pass = clusterNetworkPolicy('pass', {
    priority: 1,
    ingress: [{ action: 'Pass', from: [{ namespaces: {} }] }],
  });
  assert.deepEqual(codes(check(pass, deny({}), allow)), []);
  assert.deepEqual(codes(check(pass, deny({}))), shadowed);
});

test('a rule of the tier Baseline never decides for pods that NetworkPolicies isolate', () => {
  const baseline = clusterNetworkPolicy('base', {
    ...{
      tier: 'Baseline',
      subject: { pods: { namespaceSelector: {}, podSelector: selector('app=db') } },
    },
    ingress: [{ action: 'Deny', from: [{ namespaces: {} }] }],
  });
  assert.deepEqual(codes(check(baseline)), []);
  const checked = check(policy('db', { podSelector: selector('app=db') }), baseline);
  assert.deepEqual(codes(checked), ['warning shadowed spec.ingress[0]']);
  assert.match(messageOf(checked), /NetworkPolicies isolate the pod that it selects/);
});

test('a rule of a NetworkPolicy that another one makes needless is a note', () => {
  const allow = (name: string, from: unknown[]) =>
    policy(name, { podSelector: selector('app=db'), ingress: [{ from }] });
  const all = allow('a', [{ podSelector: {} }]);
  const checked = check(all, allow('b', [{ podSelector: selector('app=web') }]));
  assert.deepEqual(codes(checked), ['note redundant spec.ingress[0]']);
  assert.match(
    messageOf(checked),
    /ingress\[0\] of NetworkPolicy shop\/a allows all of it already/,
  );
});
