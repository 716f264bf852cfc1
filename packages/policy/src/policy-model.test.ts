import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clusterNetworkPolicy, namespace, networkPolicy } from '@heddle/objects/testing/policies';
import { CompiledPolicies } from '../testing/compiled-verdict.ts';
import { node, pod, selector, set } from '../testing/objects.ts';
import { PolicyModel } from './policy-model.ts';

const base = [
  namespace('shop', { team: 'a' }),
  namespace('lab', { team: 'b' }),
  node('n1', '192.0.2.1', 'zone=x'),
  node('n2', '192.0.2.2', 'zone=y'),
  pod('shop/web', '10.1.0.1,fd00::1', { labels: 'app=web', ports: 'http=8080' }),
  pod('shop/db', '10.1.0.2', { labels: 'app=db' }),
  pod('lab/job', '10.2.0.1', { labels: 'app=job', node: 'n2', ports: 'http=80' }),
];

function start(...objects: readonly unknown[]) {
  const model = new PolicyModel({ nodeName: 'n1' });
  const state = new CompiledPolicies();
  const apply = (changes: Parameters<PolicyModel['apply']>[0]) => {
    const update = model.apply(changes);
    state.apply(update);
    return update;
  };
  const first = apply(set(...base, ...objects));
  return { model, state, apply, first, set: (...more: unknown[]) => apply(set(...more)) };
}

const policy = (name: string, more: object) => networkPolicy(name, { namespace: 'shop', ...more });
const from = (...peers: object[]) => ({ ingress: [{ from: peers }] });
const app = (name: string) => ({ podSelector: selector(`app=${name}`) });

test('without policies the pods of the node are reported without subjects', () => {
  const { first, model } = start();
  assert.deepEqual(
    first.subjects.upserted.map(({ pod: key, addresses, egress, ingress }) => [
      ...[key, addresses.length, egress, ingress],
    ]),
    [
      ['shop/web', 2, undefined, undefined],
      ['shop/db', 1, undefined, undefined],
    ],
  );
  assert.equal(first.peers.assigned.size, 0);
  assert.deepEqual(model.demand, new Set());
});

test('a policy that selects no pod of the node has no row, no rule and no demand', () => {
  const { first, model } = start(
    networkPolicy('p', { namespace: 'lab', ingress: [{ from: [{ namespaceSelector: {} }] }] }),
    policy('q', { ...app('cache'), ...from({ namespaceSelector: {} }) }),
  );
  assert.deepEqual([first.policies.upserted, first.rules.added], [[], []]);
  assert.deepEqual(model.demand, new Set());
});

test('demand has the namespaces that peers of active policies name, or all', () => {
  const { model, set: change } = start(policy('p', from(app('web'))));
  assert.deepEqual(model.demand, new Set(['shop']));
  const before = model.demand;
  change(pod('shop/db', '10.1.0.3', { labels: 'app=db' }));
  assert.equal(model.demand, before);
  change(policy('p', from({ namespaceSelector: selector('team=b') })));
  assert.deepEqual(model.demand, new Set(['lab']));
  change(namespace('lab2', { team: 'b' }));
  assert.deepEqual(model.demand, new Set(['lab', 'lab2']));
  change(policy('p', from({ ipBlock: { cidr: '10.0.0.0/8' } })));
  assert.deepEqual(model.demand, new Set());
  change(policy('p', from({ namespaceSelector: {} })));
  assert.equal(model.demand, 'all');
  // A name stands for a number at each destination pod, so all pods are needed.
  const ports = [{ port: 'http' }];
  change(policy('p', { policyTypes: ['Egress'], egress: [{ ports }] }));
  assert.equal(model.demand, 'all');
});

test('pods with the same rules share a subject, and peers with the same rules a class', () => {
  const { first, state } = start(
    pod('shop/web2', '10.1.0.3', { labels: 'app=web' }),
    policy('p', from(app('web'))),
  );
  const subjects = new Set(first.subjects.upserted.map(({ ingress }) => ingress));
  assert.equal(subjects.size, 1);
  assert.deepEqual([...state.assigned.keys()].sort(), [
    '10.1.0.1/32',
    '10.1.0.3/32',
    'fd00::1/128',
  ]);
  assert.equal(state.classes.size, 1);
});

test('a class gains the rule of a new policy in place if all its addresses do', () => {
  const { set: change } = start(
    pod('shop/web2', '10.1.0.3', { labels: 'app=web,tier=x' }),
    policy('p', from(app('web'))),
  );
  const whole = change(policy('q', from(app('web'))));
  assert.deepEqual([whole.peers.gained.size, whole.peers.assigned.size], [1, 0]);
  const partly = change(policy('r', from({ podSelector: selector('tier=x') })));
  assert.deepEqual(
    [partly.peers.gained.size, [...partly.peers.assigned.keys()]],
    [0, ['10.1.0.3/32']],
  );
});

test('a pod that changes its labels changes its class only', () => {
  const { set: change } = start(policy('p', from(app('job'), { namespaceSelector: {} })));
  const update = change(
    policy('q', from({ podSelector: selector('app=new'), namespaceSelector: {} })),
  );
  assert.equal(update.peers.assigned.size, 0);
  const { peers, rules, subjects, policies } = change(
    pod('lab/job', '10.2.0.1', { labels: 'app=new', node: 'n2' }),
  );
  assert.deepEqual([...peers.assigned.keys()], ['10.2.0.1/32']);
  assert.deepEqual([rules.added, subjects.upserted, policies.upserted], [[], [], []]);
});

test('a class of a narrower range or of an address contains the rules of wider ranges', () => {
  const { state } = start(
    policy('p', from({ ipBlock: { cidr: '10.0.0.0/8', except: ['10.2.0.0/16'] } })),
    policy('q', from({ ipBlock: { cidr: '10.1.0.0/16' } }, app('web'))),
  );
  const rules = (address: string) =>
    [...state.classOf(address)].map((rule) => rule.policy.split('/')[1]).sort();
  assert.deepEqual(rules('10.9.0.1'), ['p']);
  assert.deepEqual(rules('10.1.0.9'), ['p', 'q']);
  assert.deepEqual(rules('10.1.0.1'), ['p', 'q']);
  assert.deepEqual(rules('10.2.0.1'), []);
  assert.equal(state.assigned.has('10.2.0.0/16'), true);
  // The pod has the rules of the range, so it needs no entry of its own.
  assert.equal(state.assigned.has('10.1.0.1/32'), false);
});

test('a range of one address is the entry of the pod that has it', () => {
  const block = (cidr: string) => from({ ipBlock: { cidr } });
  const {
    state,
    set: change,
    apply,
  } = start(policy('p', block('10.2.0.1/32')), policy('q', block('10.0.0.0/8')));
  const rules = (address: string) =>
    [...state.classOf(address)].map((rule) => rule.policy.split('/')[1]).sort();
  assert.deepEqual(rules('10.2.0.1'), ['p', 'q']);
  change(policy('r', from({ namespaceSelector: selector('team=b') })));
  assert.deepEqual(rules('10.2.0.1'), ['p', 'q', 'r']);
  apply([{ op: 'delete', kind: 'pod', namespace: 'lab', name: 'job' }]);
  assert.deepEqual(rules('10.2.0.1'), ['p', 'q']);
  change(policy('p', block('10.2.0.2/32')));
  assert.deepEqual(rules('10.2.0.1'), ['q']);
  assert.equal(state.assigned.has('10.2.0.1/32'), false);
});

test('narrower ranges stay when the range between is removed', () => {
  const block = (cidr: string) => from({ ipBlock: { cidr } });
  const { state, set: change } = start(
    policy('wide', block('10.0.0.0/8')),
    policy('middle', block('10.1.0.0/16')),
    policy('narrow', block('10.1.0.0/24')),
  );
  change(policy('middle', block('192.0.2.0/24')));
  change(pod('lab/new', '10.1.0.77', { labels: 'app=new', node: 'n2' }));
  change(policy('q', from({ podSelector: selector('app=new'), namespaceSelector: {} })));
  const rules = [...state.classOf('10.1.0.77')].map((rule) => rule.policy.split('/')[1]);
  assert.deepEqual(rules.sort(), ['narrow', 'q', 'wide']);
});

test('a named port makes a rule for each number that it stands for', () => {
  const ports = [{ port: 'http' }];
  const { first, set: change } = start(
    policy('in', { ...app('web'), ingress: [{ ports }] }),
    policy('out', {
      ...app('db'),
      policyTypes: ['Egress'],
      egress: [{ to: [{ namespaceSelector: {} }], ports }],
    }),
  );
  const numbers = (rules: typeof first.rules.added) =>
    rules.map(({ direction, ports: ranges }) => `${direction} ${ranges?.[0]?.first}`).sort();
  assert.deepEqual(numbers(first.rules.added), ['egress 80', 'egress 8080', 'ingress 8080']);
  const { rules, subjects } = change(
    pod('lab/job', '10.2.0.1', { labels: 'app=job', node: 'n2', ports: 'http=81' }),
  );
  assert.deepEqual(numbers(rules.added), ['egress 81']);
  assert.deepEqual(numbers(rules.removed), ['egress 80']);
  assert.deepEqual(
    subjects.upserted.map(({ pod: key }) => key),
    ['shop/db'],
  );
});

test('rows have the policies in use with their sentences, and mark those in audit mode', () => {
  const odd = { ingress: [{ from: [{ ipBlock: { cidr: 'x' } }] }] };
  const { first, apply, set: change } = start(policy('p', odd));
  const [row] = first.policies.upserted;
  assert.equal(row?.key, 'NetworkPolicy shop/p');
  assert.match(row!.problems[0]!, /^NetworkPolicy shop\/p: spec\.ingress\[0\]\.from\[0\]\.ipBlock/);
  const audit = { 'heddle.io/policy-mode': 'audit' };
  const update = change(namespace('shop', { team: 'a' }, audit));
  assert.deepEqual(
    update.policies.upserted.map(({ isAudited }) => isAudited),
    [true],
  );
  const { ingress } = update.subjects.upserted[0]!;
  assert.deepEqual([ingress?.isIsolated, ingress?.audited?.isIsolated], [false, true]);
  const ref = { kind: 'networkPolicy', namespace: 'shop', name: 'p' };
  const invalid = apply([{ op: 'invalid', ...ref, reason: 'spec is missing' }]);
  assert.equal(invalid.policies.upserted[0]?.problems[0], 'spec is missing');
  assert.deepEqual(apply([{ op: 'delete', ...ref }]).policies.removed, ['NetworkPolicy shop/p']);
});

test('the response to what no rule allows is the most informative one of the policies that isolate a pod', () => {
  const respond = (response: string) => ({ 'heddle.io/policy-deny-response': response });
  const { first, set: change, apply } = start(policy('p', from(app('job'))));
  const responseOf = ({ subjects }: typeof first) => subjects.upserted[0]?.ingress?.denyResponse;
  assert.equal(responseOf(first), undefined);
  // The annotation of the namespace applies to policies without one.
  assert.equal(responseOf(change(namespace('shop', { team: 'a' }, respond('none')))), 'none');
  const annotated = (name: string, response: string) =>
    policy(name, { ...from(app('job')), annotations: respond(response) });
  assert.equal(responseOf(change(annotated('q', 'icmp'))), 'icmp');
  assert.equal(responseOf(change(annotated('r', 'reset'))), 'reset');
  // A policy of the other direction has no part in it.
  const egress = { policyTypes: ['Egress'], egress: [], annotations: respond('reset') };
  assert.equal(responseOf(change(annotated('r', 'none'), policy('s', egress))), 'icmp');
  const audited = { ...respond('reset'), 'heddle.io/policy-mode': 'audit' };
  const update = change(policy('r', { ...from(app('job')), annotations: audited }));
  assert.equal(responseOf(update), 'icmp', 'a policy in audit mode denies nothing');
  const ref = { kind: 'networkPolicy', namespace: 'shop', name: 'q' };
  assert.equal(responseOf(apply([{ op: 'delete', ...ref }])), 'none');
});

test('a rule that denies has the response of its ClusterNetworkPolicy', () => {
  const spec = {
    ingress: [
      { action: 'Deny', from: [{ namespaces: selector('team=b') }] },
      { action: 'Accept', from: [{ namespaces: selector('team=c') }] },
    ],
  };
  const annotations = { 'heddle.io/policy-deny-response': 'reset' };
  const { first } = start(clusterNetworkPolicy('c', { ...spec, annotations }));
  const rules = first.rules.added.map(({ action, denyResponse }) => [action, denyResponse]);
  assert.deepEqual(rules, [
    ['deny', 'reset'],
    ['allow', undefined],
  ]);
});

test('with ClusterNetworkPolicies a pod whose Namespace is not known is closed until it is', () => {
  const { set: change } = start(
    pod('late/pod', '10.3.0.1'),
    clusterNetworkPolicy('c', {
      ingress: [{ action: 'Deny', from: [{ namespaces: selector('team=b') }] }],
    }),
  );
  const { subjects } = change(namespace('late', { team: 'c' }));
  const [late] = subjects.upserted;
  assert.deepEqual(
    [late?.pod, late?.egress, late?.ingress?.isIsolated],
    ['late/pod', undefined, false],
  );
});

test('an address belongs to the pod that was created last', () => {
  const { set: change, state, apply } = start(policy('p', from(app('job'))));
  change(pod('shop/job', '10.1.0.9', { labels: 'app=job', node: 'n2' }));
  assert.equal(state.classOf('10.1.0.9').size, 1);
  const late = { labels: 'app=x', node: 'n2', created: '2026-02-01T00:00:00Z' };
  change(pod('shop/next', '10.1.0.9', late));
  assert.equal(state.classOf('10.1.0.9').size, 0);
  apply([{ op: 'delete', kind: 'pod', namespace: 'shop', name: 'next' }]);
  assert.equal(state.classOf('10.1.0.9').size, 1);
  const { subjects } = apply([{ op: 'delete', kind: 'pod', namespace: 'shop', name: 'web' }]);
  assert.deepEqual([subjects.upserted, subjects.removed], [[], ['shop/web']]);
});
