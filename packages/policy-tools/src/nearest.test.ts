import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type PolicyInput, policyReader } from '@heddle/objects';
import { PolicyWorld, type Question } from '@heddle/policy';
import { type NearestRule, nearestRule } from './nearest.ts';

const read = (object: object): PolicyInput => {
  const result = policyReader.read(object);
  assert.ok(result.kind === 'record', JSON.stringify(result));
  return result.record;
};
const pod = (name: string, ip: string, labels: object = { app: name }) =>
  read({
    ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'shop', labels } },
    spec: { nodeName: 'n1', containers: [] },
    status: { phase: 'Running', podIP: ip, podIPs: [{ ip }] },
  });
const policy = (spec: object) =>
  read({
    ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
    metadata: { name: 'web', namespace: 'shop' },
    spec: { podSelector: { matchLabels: { app: 'web' } }, ...spec },
  });
const from = (app: string) => [{ podSelector: { matchLabels: { app } } }];
const tcp = (port: number | string) => ({ protocol: 'TCP', port });

const question: Question = { from: '10.7.0.3', to: '10.7.0.2', protocol: 'TCP', port: 80 };

function nearest(
  spec: object,
  asked: Partial<Question> = {},
  direction: 'ingress' | 'egress' = 'ingress',
): NearestRule {
  const types = { policyTypes: [direction === 'ingress' ? 'Ingress' : 'Egress'] };
  const pods = [pod('web', '10.7.0.2'), pod('client', '10.7.0.3'), pod('bare', '10.7.0.4', {})];
  const world = PolicyWorld.of([...pods, policy({ ...types, ...spec })]);
  return nearestRule(world, { ...question, ...asked }, direction);
}

/** Returns the tests that fail as WHAT: RULE / HERE. */
const failing = ({ tests }: NearestRule) =>
  tests.filter(({ fits }) => !fits).map(({ what, rule, here }) => `${what}: ${rule} / ${here}`);
const marked = ({ source }: NearestRule) => source!.failing.map((line) => source!.lines[line]);

test('a rule whose port differs has the lines of its ports marked', () => {
  const found = nearest({
    ingress: [
      { from: from('nobody'), ports: [tcp(80)] },
      { from: from('client'), ports: [tcp(8080), { protocol: 'TCP', port: 9000, endPort: 9010 }] },
    ],
  });
  assert.deepEqual(
    found.tests.map(({ what, fits }) => `${what} ${fits}`),
    ['direction true', 'subject true', 'peer true', 'protocol true', 'port false'],
  );
  assert.deepEqual(failing(found), ['port: TCP 8080 and TCP 9000-9010 / TCP 80']);
  const { policy: name, lines, near } = found.source!;
  assert.equal(name, 'NetworkPolicy shop/web');
  assert.deepEqual(lines.slice(near[0], near[1] + 1), [
    '    - from:',
    '        - podSelector:',
    '            matchLabels:',
    '              app: client',
    '      ports:',
    '        - { protocol: TCP, port: 8080 }',
    '        - { protocol: TCP, port: 9000, endPort: 9010 }',
  ]);
  assert.deepEqual(marked(found), lines.slice(near[1] - 1, near[1] + 1));
  assert.equal(found.others, 0, 'a rule with another peer does not come as near');
});

test('a rule whose peer differs has the lines of its peers marked, in both directions', () => {
  const peer = { namespaceSelector: {}, ...from('nobody')[0] };
  const ingress = nearest({ ingress: [{ from: [peer], ports: [tcp(80)] }] });
  assert.deepEqual(failing(ingress), [
    'peer: pods with app=nobody of all namespaces / shop/client has app=client',
  ]);
  assert.equal(marked(ingress)[0]?.trim(), '- namespaceSelector: {}');
  const toRange = { to: [{ ipBlock: { cidr: '192.0.2.0/24' } }] };
  const asked = { from: '10.7.0.2', to: '198.51.100.7' };
  const egress = nearest({ egress: [toRange] }, asked, 'egress');
  assert.deepEqual(failing(egress), ['peer: 192.0.2.0/24 / 198.51.100.7']);
  assert.match(marked(egress).join('\n'), /cidr: 192\.0\.2\.0\/24/);
  const bare = nearest({ ingress: [{ from: from('x') }] }, { from: '10.7.0.4' });
  assert.deepEqual(failing(bare), [
    'peer: pods with app=x of namespace shop / shop/bare has no label app',
  ]);
});

test('another protocol is not another port', () => {
  const rule = { ingress: [{ from: from('client'), ports: [tcp(80)] }] };
  assert.deepEqual(failing(nearest(rule, { protocol: 'UDP' })), ['protocol: TCP / UDP']);
  assert.deepEqual(failing(nearest(rule, { protocol: 'UDP', port: 81 })), [
    'protocol: TCP / UDP',
    'port: TCP 80 / UDP 81',
  ]);
  assert.deepEqual(failing(nearest(rule, { protocol: 'other', port: 0 })), [
    'protocol: TCP / ICMP',
  ]);
});

test('rules that come as near are counted, and an allowed connection has no nearest rule', () => {
  const rule = (port: number) => ({ from: from('client'), ports: [tcp(port)] });
  assert.equal(nearest({ ingress: [rule(1), rule(2), rule(3)] }).others, 2);
  const none = { tests: [], others: 0 };
  assert.deepEqual(nearest({ ingress: [rule(80)] }), none);
  assert.deepEqual(nearest({ ingress: [] }), none);
});

test('a text that is too long is left out, and so is one with parts that cannot be used', () => {
  const many = Array.from({ length: 500 }, (_, port) => tcp(port + 100));
  const long = nearest({ ingress: [{ ports: many }] });
  assert.deepEqual([long.source, long.tests.at(-1)?.fits], [undefined, false]);
  const odd = { ingress: [{ ports: [tcp(81)] }, { ports: [{ protocol: 'ICMP' }] }] };
  assert.equal(nearest(odd).source, undefined);
});
