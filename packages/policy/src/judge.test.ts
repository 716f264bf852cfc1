import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clusterNetworkPolicy, namespace, networkPolicy } from '@heddle/objects/testing/policies';
import { node, pod, selector, set } from '../testing/objects.ts';
import { judge, nearMisses, type Question } from './judge.ts';
import { PolicyWorld } from './policy-world.ts';

/** Pods of two namespaces; `shop/web` and `shop/db` run on n1, `lab/job` on n2. */
const base = [
  namespace('shop', { team: 'a' }),
  namespace('lab', { team: 'b' }),
  node('n1', '192.0.2.1', 'zone=x'),
  node('n2', '192.0.2.2', 'zone=y'),
  pod('shop/web', '10.1.0.1,fd00::1', { labels: 'app=web', ports: 'http=8080' }),
  pod('shop/db', '10.1.0.2,fd00::2', { labels: 'app=db', ports: 'sql=5432' }),
  pod('lab/job', '10.2.0.1,fd00::3', { labels: 'app=job', node: 'n2', ports: 'http=80' }),
];
const [web, db, job] = ['10.1.0.1', '10.1.0.2', '10.2.0.1'];
const outside = '198.51.100.7';

function worldOf(...objects: readonly unknown[]): PolicyWorld {
  const world = new PolicyWorld();
  world.apply(set(...base, ...objects));
  return world;
}

function ask(world: PolicyWorld, from: string, to: string, service = '80/TCP', names?: string[]) {
  const [port, protocol] = service === 'icmp' ? [0, 'other'] : service.split('/');
  const question = { from, to, port: Number(port), protocol } as Question;
  return judge(world, names ? { ...question, names } : question);
}
const allowed = (...args: Parameters<typeof ask>) => ask(...args).allowed;

const policy = (name: string, more: object) => networkPolicy(name, { namespace: 'shop', ...more });
const cluster = (name: string, more: object) => clusterNetworkPolicy(name, { ...more });

test('without policies everything is allowed', () => {
  const world = worldOf();
  const { ingress, egress } = ask(world, web, db);
  assert.deepEqual([ingress.reason, egress.reason], ['no-rule', 'no-rule']);
  assert.equal(allowed(world, outside, web), true);
  assert.equal(ask(world, outside, web).egress.reason, 'no-pod');
});

test('a policy isolates the selected pods in its directions only', () => {
  const world = worldOf(policy('deny', { podSelector: selector('app=db') }));
  const { ingress } = ask(world, web, db);
  assert.deepEqual([ingress.allowed, ingress.reason], [false, 'default-deny']);
  assert.deepEqual(ingress.isolatedBy, ['NetworkPolicy shop/deny']);
  assert.equal(allowed(world, db, web), true);
  assert.equal(allowed(world, job, web), true);
  assert.equal(allowed(world, outside, db), false);
});

test('rules of several policies add up', () => {
  const allow = (app: string) =>
    policy(app, { ingress: [{ from: [{ podSelector: selector(`app=${app}`) }] }] });
  const world = worldOf(allow('web'), policy('deny', {}));
  assert.equal(allowed(world, web, db), true);
  assert.equal(allowed(world, job, db), false);
  const { rule } = ask(world, web, db).ingress;
  assert.deepEqual([rule?.policy, rule?.number], ['NetworkPolicy shop/web', 0]);
});

test('podSelector alone means the own namespace, and with namespaceSelector both must match', () => {
  const from = (...peers: object[]) => worldOf(policy('p', { ingress: [{ from: peers }] }));
  const team = (name: string) => selector(`team=${name}`);
  assert.equal(allowed(from({ podSelector: selector('app=job') }), job, db), false);
  const both = (app: string) => ({
    podSelector: selector(`app=${app}`),
    namespaceSelector: team('b'),
  });
  assert.equal(allowed(from(both('job')), job, db), true);
  assert.equal(allowed(from(both('web')), job, db), false);
  assert.equal(allowed(from(both('web')), web, db), false);
  assert.equal(allowed(from({ namespaceSelector: team('b') }), job, db), true);
  assert.equal(allowed(from({ namespaceSelector: {} }), job, db), true);
  assert.equal(allowed(from({ namespaceSelector: {} }), outside, db), false);
});

test('ipBlock matches all addresses of the range, also of pods and nodes, but not the exceptions', () => {
  const block = { cidr: '10.0.0.0/8', except: ['10.2.0.0/16'] };
  const world = worldOf(policy('p', { ingress: [{ from: [{ ipBlock: block }] }] }));
  assert.equal(allowed(world, web, db), true);
  assert.equal(allowed(world, job, db), false);
  assert.equal(allowed(world, '10.9.9.9', db), true);
  assert.equal(allowed(world, outside, db), false);
  assert.equal(allowed(world, 'fd00::1', 'fd00::2'), false);
  const nodes = { ipBlock: { cidr: '192.0.2.2/32' } };
  assert.equal(
    allowed(worldOf(policy('p', { ingress: [{ from: [nodes] }] })), '192.0.2.2', db),
    true,
  );
});

test('ports match by number, range and protocol; a rule without ports matches all protocols', () => {
  const world = (...ports: object[]) => worldOf(policy('p', { ingress: [{ ports }] }));
  const services = (made: PolicyWorld) =>
    ['80/TCP', '81/TCP', '80/UDP', '80/SCTP', 'icmp'].filter((each) =>
      allowed(made, web, db, each),
    );
  assert.deepEqual(services(world({ port: 80 })), ['80/TCP']);
  assert.deepEqual(services(world({ port: 80, endPort: 81 })), ['80/TCP', '81/TCP']);
  assert.deepEqual(services(world({ protocol: 'UDP' })), ['80/UDP']);
  assert.deepEqual(services(world({ protocol: 'SCTP', port: 80 }, {})), [
    '80/TCP',
    '81/TCP',
    '80/SCTP',
  ]);
  assert.deepEqual(services(world()).length, 5);
});

test('a named port is that of the destination pod', () => {
  const ports = [{ port: 'http' }];
  const ingress = worldOf(policy('p', { ingress: [{ ports }] }));
  assert.equal(allowed(ingress, db, web, '8080/TCP'), true);
  assert.equal(allowed(ingress, db, web, '80/TCP'), false);
  assert.equal(allowed(ingress, web, db, '8080/TCP'), false);
  const egress = worldOf(policy('p', { policyTypes: ['Egress'], egress: [{ ports }] }));
  assert.equal(allowed(egress, db, web, '8080/TCP'), true);
  assert.equal(allowed(egress, db, job, '80/TCP'), true);
  assert.equal(allowed(egress, db, job, '8080/TCP'), false);
  assert.equal(allowed(egress, db, outside, '80/TCP'), false);
});

test('both families of a pod have the same verdict', () => {
  const world = worldOf(
    policy('p', { ingress: [{ from: [{ podSelector: selector('app=web') }] }] }),
  );
  assert.equal(allowed(world, 'fd00::1', 'fd00::2'), true);
  assert.equal(allowed(world, 'fd00::3', 'fd00::2'), false);
});

test('a node reaches its own pods, another node does not, and a pod reaches itself', () => {
  const world = worldOf(policy('deny', { policyTypes: ['Ingress', 'Egress'] }));
  assert.equal(ask(world, '192.0.2.1', web).ingress.reason, 'own-node');
  assert.equal(allowed(world, '192.0.2.1', web), true);
  assert.equal(allowed(world, '192.0.2.2', web), false);
  assert.equal(ask(world, web, web).egress.reason, 'itself');
  assert.equal(allowed(world, web, 'fd00::1'), true);
  assert.equal(allowed(world, web, '192.0.2.1'), false);
});

test('completed pods and pods with the network of the host are neither subjects nor peers', () => {
  const from = [{ podSelector: {} }];
  const world = worldOf(policy('p', { ingress: [{ from }] }));
  assert.equal(allowed(world, web, db), true);
  const done = pod('shop/web', web!, { phase: 'Succeeded' });
  const host = pod('shop/host', '192.0.2.9', { hostNetwork: true });
  for (const object of [done, host]) assert.throws(() => set(object), /ignored/);
  world.apply([{ op: 'delete', kind: 'pod', namespace: 'shop', name: 'web' }]);
  assert.equal(allowed(world, web, db), false);
  assert.equal(allowed(world, db, web), true);
});

test('of two pods with one address the one that was created last has it', () => {
  const late = pod('lab/late', web!, { created: '2026-02-01T00:00:00Z', node: 'n2' });
  const world = worldOf(late, policy('p', { ingress: [{ from: [{ podSelector: {} }] }] }));
  assert.equal(ask(world, web, db).egress.pod, 'lab/late');
  assert.equal(allowed(world, web, db), false);
});

test('the tiers decide in order: Admin, NetworkPolicy, Baseline', () => {
  const rule = (action: string) => [{ action, from: [{ namespaces: selector('team=a') }] }];
  const admin = (action: string) => cluster('admin', { ingress: rule(action) });
  const baseline = (action: string) =>
    cluster('baseline', { tier: 'Baseline', ingress: rule(action) });
  const deny = policy('deny', { podSelector: selector('app=db') });
  const reason = (...objects: object[]) => {
    const { ingress } = ask(worldOf(...objects), web, db);
    return [ingress.allowed, ingress.rule?.tier ?? ingress.reason];
  };
  assert.deepEqual(reason(admin('Accept'), deny, baseline('Deny')), [true, 'Admin']);
  assert.deepEqual(reason(admin('Deny'), baseline('Accept')), [false, 'Admin']);
  assert.deepEqual(reason(admin('Pass'), deny, baseline('Accept')), [false, 'default-deny']);
  assert.deepEqual(reason(admin('Pass'), baseline('Deny')), [false, 'Baseline']);
  assert.deepEqual(reason(baseline('Deny')), [false, 'Baseline']);
  assert.deepEqual(reason(baseline('Pass')), [true, 'Baseline']);
  const passed = ask(worldOf(admin('Pass'), deny), web, db).ingress;
  assert.equal(passed.passedBy?.policy, 'ClusterNetworkPolicy admin');
});

test('within a tier lower priorities come first, then names, then the order of rules', () => {
  const made = (name: string, priority: number, ...actions: string[]) =>
    cluster(name, {
      priority,
      ingress: actions.map((action) => ({ action, from: [{ namespaces: {} }] })),
    });
  const decided = (...objects: object[]) => {
    const { rule } = ask(worldOf(...objects), web, db).ingress;
    return `${rule?.policy.split(' ')[1]} ${rule?.number}`;
  };
  assert.equal(decided(made('a', 9, 'Deny'), made('b', 8, 'Accept', 'Deny')), 'b 0');
  assert.equal(decided(made('b', 9, 'Deny'), made('a', 9, 'Deny')), 'a 0');
});

test('a ClusterNetworkPolicy selects subjects by namespaces and pods, and egress peers of all types', () => {
  const to = (...peers: object[]) =>
    worldOf(
      cluster('c', {
        subject: {
          pods: { namespaceSelector: selector('team=a'), podSelector: selector('app=web') },
        },
        egress: [
          { action: 'Accept', to: peers },
          { action: 'Deny', to: [{ networks: ['0.0.0.0/0', '::/0'] }] },
        ],
      }),
    );
  assert.equal(allowed(to({ namespaces: {} }), db, outside), true);
  assert.equal(allowed(to({ namespaces: {} }), web, outside), false);
  assert.equal(allowed(to({ namespaces: {} }), web, job), true);
  assert.equal(allowed(to({ nodes: selector('zone=y') }), web, '192.0.2.2'), true);
  assert.equal(allowed(to({ nodes: selector('zone=y') }), web, '192.0.2.1'), false);
  assert.equal(allowed(to({ networks: ['198.51.100.0/24'] }), web, outside), true);
  const names = to({ domainNames: ['*.example.com', 'example.org'] });
  const known = (name: string) => allowed(names, web, outside, '80/TCP', [name]);
  assert.deepEqual(
    ['a.example.com', 'a.b.example.com', 'example.com', 'example.org', 'a.example.org'].map(known),
    [true, true, false, true, false],
  );
});

test('ports of a ClusterNetworkPolicy match by number, range and name', () => {
  const world = (...protocols: object[]) =>
    worldOf(cluster('c', { ingress: [{ action: 'Deny', from: [{ namespaces: {} }], protocols }] }));
  const denied = (made: PolicyWorld) =>
    ['80/TCP', '8080/TCP', '8080/UDP', 'icmp'].filter((each) => !allowed(made, db, web, each));
  assert.deepEqual(denied(world({ tcp: { destinationPort: { number: 80 } } })), ['80/TCP']);
  assert.deepEqual(
    denied(world({ udp: { destinationPort: { range: { start: 80, end: 9000 } } } })),
    ['8080/UDP'],
  );
  assert.deepEqual(denied(world({ destinationNamedPort: 'http' })), ['8080/TCP']);
});

test('a policy in audit mode decides only in the judgement of the audit', () => {
  const annotations = { 'heddle.io/policy-mode': 'audit' };
  const check = (...objects: unknown[]) => {
    const { ingress } = ask(worldOf(...objects), web, db);
    assert.deepEqual([ingress.allowed, ingress.isolatedBy], [true, []]);
    assert.equal(ingress.audited?.reason, 'default-deny');
  };
  check(policy('deny', { annotations }));
  check(policy('deny', {}), namespace('shop', { team: 'a' }, annotations));
  const { ingress } = ask(worldOf(policy('deny', {})), web, db);
  assert.equal(ingress.audited, undefined);
});

test('with ClusterNetworkPolicies a pod whose Namespace is not known is closed', () => {
  const stray = pod('lost/pod', '10.3.0.1');
  assert.equal(allowed(worldOf(stray), web, '10.3.0.1'), true);
  const { ingress } = ask(worldOf(stray, cluster('c', {})), web, '10.3.0.1');
  assert.deepEqual([ingress.allowed, ingress.reason], [false, 'unknown-namespace']);
});

test('an invalid policy keeps its last good version, and without one closes its namespace', () => {
  const world = worldOf();
  const ref = { kind: 'networkPolicy', namespace: 'shop', name: 'p' };
  world.apply([{ op: 'invalid', ...ref, reason: 'NetworkPolicy shop/p: spec is missing' }]);
  assert.equal(allowed(world, job, db), false);
  assert.equal(allowed(world, db, job), false);
  world.apply(set(policy('p', { ingress: [{}] })));
  world.apply([{ op: 'invalid', ...ref, reason: 'NetworkPolicy shop/p: spec is missing' }]);
  assert.equal(allowed(world, job, db), true);
  world.apply([{ op: 'delete', ...ref }]);
  assert.equal(allowed(world, db, job), true);
});

test('nearMisses lists rules that would allow but for the port, then but for the peer', () => {
  const world = worldOf(
    policy('a', {
      ingress: [
        { from: [{ podSelector: selector('app=db') }], ports: [{ port: 80 }] },
        { from: [{ podSelector: selector('app=web') }], ports: [{ port: 5432 }] },
        { from: [{ podSelector: selector('app=db') }], ports: [{ port: 1 }] },
      ],
    }),
  );
  const question: Question = { from: web!, to: db!, protocol: 'TCP', port: 80 };
  const misses = nearMisses(world, question, 'ingress');
  assert.deepEqual(
    misses.map(({ rule, differs }) => [rule.number, differs]),
    [
      [1, 'port'],
      [0, 'peer'],
    ],
  );
});
