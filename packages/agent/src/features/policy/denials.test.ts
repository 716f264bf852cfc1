import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type PolicyInput, policyReader } from '@heddle/objects';
import { VirtualTime } from '@heddle/state/testing/virtual-time';
import { Denials } from './denials.ts';

const read = (object: object): PolicyInput => {
  const result = policyReader.read(object);
  assert.ok(result.kind === 'record', JSON.stringify(result));
  return result.record;
};
const pod = (name: string, ip: string) =>
  read({
    ...{ apiVersion: 'v1', kind: 'Pod' },
    metadata: { name, namespace: 'default', labels: { app: name } },
    spec: { nodeName: 'n1', containers: [] },
    status: { phase: 'Running', podIP: ip, podIPs: [{ ip }] },
  });
const policy = (name: string, annotations: object, ...ingress: object[]) =>
  read({
    ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
    metadata: { name, namespace: 'default', annotations },
    spec: { podSelector: { matchLabels: { app: name } }, policyTypes: ['Ingress'], ingress },
  });
const from = (app: string, port: number) => ({
  from: [{ podSelector: { matchLabels: { app } } }],
  ports: [{ port }],
});
const objects = [
  ...[pod('web', '10.7.0.2'), pod('client', '10.7.0.3'), pod('audited', '10.7.0.4')],
  policy('web', {}, from('nobody', 80), from('client', 443)),
  policy('audited', { 'heddle.io/policy-mode': 'audit' }),
];
const question = {
  ...{ source: '10.7.0.3', destination: '10.7.0.2', protocol: 'TCP', port: 80 },
  direction: 'ingress',
};

test('a denial by default has the policies that isolate the pod and the nearest rules', () => {
  const denials = new Denials(new VirtualTime(), () => objects);
  const rule = { policy: 'NetworkPolicy default/web', action: 'allow' };
  assert.deepEqual(denials.explain(question), {
    isolatedBy: ['NetworkPolicy default/web'],
    nearest: [
      { ...rule, rule: 1, differs: 'port' },
      { ...rule, rule: 0, differs: 'peer' },
    ],
  });
  const none = { isolatedBy: [], nearest: [] };
  assert.deepEqual(denials.explain({ ...question, port: 443 }), none);
  assert.deepEqual(denials.explain({ ...question, direction: 'egress' }), none);
  assert.deepEqual(denials.explain({ ...question, destination: '10.7.0.4' }), {
    ...none,
    isolatedBy: ['NetworkPolicy default/audited'],
  });
  assert.deepEqual(denials.explain({ ...question, protocol: 'ICMP', port: 8 }).isolatedBy, [
    'NetworkPolicy default/web',
  ]);
});

test('the nearest rule has its properties beside those of the connection, from the same objects', () => {
  const denials = new Denials(new VirtualTime(), () => objects);
  const { tests, source } = denials.nearest(question);
  const failing = tests.filter(({ fits }) => !fits);
  assert.deepEqual(
    failing.map(({ what, here }) => [what, here]),
    [['port', 'TCP 80']],
  );
  assert.equal(source?.policy, 'NetworkPolicy default/web');
  assert.deepEqual(denials.nearest({ ...question, port: 443 }), { tests: [], others: 0 });
  assert.throws(() => denials.nearest({ ...question, direction: 'up' }), /direction is "up"/);
});

test('changed objects are read again, at most once in two seconds', () => {
  const time = new VirtualTime();
  let reads = 0;
  const denials = new Denials(time, () => {
    reads++;
    return objects;
  });
  denials.explain(question);
  time.pass(10_000);
  denials.explain(question);
  assert.equal(reads, 1);
  denials.changed();
  denials.explain(question);
  assert.equal(reads, 2);
  denials.changed();
  time.pass(1999);
  denials.explain(question);
  assert.equal(reads, 2);
  time.pass(1);
  denials.explain(question);
  assert.equal(reads, 3);
});

test('a question that cannot be used names the parameter', () => {
  const denials = new Denials(new VirtualTime(), () => objects);
  for (const [wrong, message] of [
    [{ source: 'web' }, /source is "web" \(write an IP address\)/],
    [{ destination: undefined }, /destination is missing/],
    [{ port: 65_536 }, /port is 65536/],
    [{ port: '80' }, /port is "80"/],
    [{ direction: 'up' }, /direction is "up" \(write egress or ingress\)/],
  ] as const) {
    assert.throws(() => denials.explain({ ...question, ...wrong }), message);
  }
});

test('nothing is explained before all objects have been read', () => {
  let records: readonly PolicyInput[] | undefined;
  const denials = new Denials(new VirtualTime(), () => records);
  assert.throws(() => denials.explain(question), /explain denial: .* has not read all objects yet/);
  records = objects;
  assert.deepEqual(denials.explain(question).isolatedBy, ['NetworkPolicy default/web']);
});
