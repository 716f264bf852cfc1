import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type ObjectChange, policyReader, serviceNameLabel, serviceReader } from '@heddle/objects';
import { VirtualTime } from '@heddle/state/testing/virtual-time';
import type { Platform } from '@heddle/sys';
import { FakeHost } from '../../../testing/host.ts';
import { MemoryPolicy } from '../../../testing/memory-policy.ts';
import type { Params } from '../../feature.ts';
import { policyFeature } from './policy.ts';
import type { PolicyDetail, PolicyEntry, PolicyRuleEntry, VerdictEntry } from './status.ts';
import { policyWatches } from './watches.ts';

const set = (object: unknown): ObjectChange => {
  const read = policyReader.read(object);
  assert.ok(read.kind === 'record', JSON.stringify(read));
  return { op: 'set', object: read.record };
};
const pod = (name: string, ip?: string, { namespace = 'default', node = 'n1' } = {}) =>
  set({
    ...{ apiVersion: 'v1', kind: 'Pod' },
    metadata: { name, namespace, uid: `uid-${name}`, labels: { app: name } },
    spec: { nodeName: node, containers: [{ name: 'main' }] },
    status: { phase: 'Running', ...(ip && { podIP: ip, podIPs: [{ ip }] }) },
  });
const namespace = (name: string) =>
  set({
    ...{ apiVersion: 'v1', kind: 'Namespace' },
    metadata: { name, labels: { 'kubernetes.io/metadata.name': name } },
  });
const policy = (name: string, ...ingress: unknown[]) =>
  set({
    ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
    metadata: { name, namespace: 'default' },
    spec: { podSelector: { matchLabels: { app: 'web' } }, policyTypes: ['Ingress'], ingress },
  });
const fromNamespace = (name: string, port = 80) => ({
  from: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': name } } }],
  ports: [{ port }],
});
/** The endpoints of the cluster's name servers. */
function dnsSlice(...addresses: string[]): ObjectChange {
  const read = serviceReader.read({
    ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', addressType: 'IPv4' },
    endpoints: [{ addresses }],
    metadata: {
      ...{ name: 'kube-dns-1', namespace: 'kube-system' },
      labels: { [serviceNameLabel]: 'kube-dns' },
    },
  });
  assert.ok(read.kind === 'record');
  return { op: 'set', object: read.record };
}
const key = 'NetworkPolicy default/allow';

/** The feature over a datapath in memory. */
function open(settings: Partial<FakeHost['config']> = {}) {
  const time = new VirtualTime();
  const lines: string[] = [];
  const log = (level: string, message: string) => void lines.push(`${level} ${message}`);
  const platform = Object.assign(time, { log }) as unknown as Platform;
  const host = new FakeHost(platform, { network: true, ...settings });
  const datapath = new MemoryPolicy();
  const feature = policyFeature.open(host, { policy: datapath, verdicts: datapath.verdicts });
  const request = <Answer>(method: string, params: Params = {}, follow = (_: unknown) => true) =>
    feature.methods![method]!(params, follow) as Answer;
  const list = () => request<{ items: PolicyEntry[] }>('policy.list').items;
  return { time, lines, host, datapath, feature, request, list };
}

describe('the policy feature', () => {
  test('returns the objects that verdicts depend on, in pages', () => {
    const { feature, request } = open();
    const many = Array.from({ length: 2001 }, (_, i) =>
      pod(`web-${i}`, `10.7.${i >> 8}.${i & 255}`),
    );
    feature.apply([namespace('default'), ...many, policy('allow')], true);
    const names = new Set<string>();
    let pages = 0;
    for (let after: string | undefined = '0'; after !== undefined; pages++) {
      const page: { items: { kind: string; name: string }[]; next?: string } = request(
        'policy.world',
        { after },
      );
      for (const { kind, name } of page.items) names.add(`${kind} ${name}`);
      after = page.next;
    }
    assert.deepEqual([pages, names.size], [2, 2003]);
    for (const name of ['namespace default', 'networkPolicy allow', 'pod web-2000']) {
      assert.ok(names.has(name), name);
    }
  });

  test('has a row for each policy that selects a pod of the node, with its rules and its pods', () => {
    const { feature, request, list } = open();
    feature.apply(
      [namespace('default'), pod('web', '10.7.0.2'), policy('allow', fromNamespace('default'))],
      true,
    );
    const [entry] = list();
    assert.deepEqual(
      [entry!.policy, entry!.tier, entry!.rules, entry!.pods, entry!.status],
      [key, 'NetworkPolicy', 1, 1, 'done'],
    );
    const detail = request<PolicyDetail>('policy.get', { policy: key });
    assert.deepEqual([detail.podList, detail.ruleList[0]!.ports], [['default/web'], ['TCP 80']]);
    const { items } = request<{ items: PolicyRuleEntry[] }>('policy.rules');
    assert.deepEqual([items[0]!.number, items[0]!.connections, items[0]!.action], [0, 10, 'allow']);
    feature.apply([policy('allow')], true);
    assert.deepEqual([list()[0]!.rules, list()[0]!.status], [0, 'done']);
    assert.equal(list()[0]!.pods, 1, 'a policy that denies everything selects pods without a rule');
    const denying = request<PolicyDetail>('policy.get', { policy: key });
    assert.deepEqual(denying.podList, ['default/web']);
    feature.apply(
      [{ op: 'delete', kind: 'networkPolicy', namespace: 'default', name: 'allow' }],
      true,
    );
    assert.deepEqual(list(), []);
    assert.throws(() => request('policy.get', { policy: key }), /no NetworkPolicy default\/allow/);
  });

  test('watches the pods of those namespaces that its policies name as peers, before the first batch, too', () => {
    const { feature, host, datapath } = open();
    const namespaces = () =>
      feature.watches.flatMap((watch) => (watch.kind.name === 'pod' ? [watch.namespace] : []));
    const first = [namespace('default'), namespace('team'), pod('web', '10.7.0.2')];
    const changes = [...first, policy('allow', fromNamespace('team'))];
    for (const change of changes) feature.observe!(change);
    assert.deepEqual([namespaces(), host.rewatched], [[undefined], 0]);
    feature.beforeFirst!();
    assert.deepEqual([namespaces(), host.rewatched], [[undefined, 'team'], 1]);
    const peer = pod('client', '10.7.9.2', { namespace: 'team', node: 'n2' });
    feature.observe!(peer);
    feature.beforeFirst!();
    assert.equal(datapath.programmed, 0, 'nothing is programmed before the first batch');
    feature.apply([...changes, peer], true);
    assert.equal(host.rewatched, 1);
    const assigned = datapath.updates.flatMap(({ peers }) => [...peers.assigned.keys()]);
    assert.deepEqual(assigned, ['10.7.9.2/32']);
    feature.apply([policy('allow', {})], true);
    assert.deepEqual([namespaces(), host.rewatched], [[undefined], 2]);
  });

  test('asks for all pods where a rule needs them, and goes on without ClusterNetworkPolicies', () => {
    const [all] = policyWatches('n1', 'all', new Set()).slice(-1);
    assert.deepEqual([all!.kind.name, all!.namespace], ['pod', undefined]);
    const optional = policyWatches('n1', new Set(), new Set()).filter(
      ({ mayBeMissing }) => mayBeMissing,
    );
    assert.deepEqual(
      optional.map(({ kind }) => kind.name),
      ['clusterNetworkPolicy'],
    );
  });

  test('the answers of name servers count once their addresses are known', () => {
    const { feature, datapath } = open();
    feature.apply([dnsSlice('10.7.3.2')], false);
    assert.equal(datapath.resolvers, undefined, 'an earlier agent may have known more');
    feature.apply([], true);
    assert.deepEqual(datapath.resolvers, ['10.7.3.2']);
    const watch = feature.watches.find(({ kind }) => kind.name === 'slice');
    assert.deepEqual(
      [watch?.namespace, watch?.labelSelector],
      ['kube-system', `${serviceNameLabel}=kube-dns`],
    );
  });

  test('name servers that could not be set are a warning, and are set a second later', () => {
    const { feature, datapath, host, list, time } = open();
    const policies = [namespace('default'), pod('web', '10.7.0.2'), policy('allow')];
    feature.apply([...policies, dnsSlice('10.7.3.2')], true);
    datapath.resolversError = new Error('write map dns_resolvers: no memory');
    feature.apply([dnsSlice('10.7.3.3')], true);
    const problem = `set the name servers whose answers count: ${datapath.resolversError.message}`;
    assert.deepEqual(feature.warnings!(undefined as never), [problem]);
    assert.equal(list()[0]!.status, 'done', 'policies do not wait for name servers');
    time.pass(5000);
    const reported = host.events.recent().filter(({ message }) => message === problem);
    assert.equal(reported.length, 1);
    datapath.resolversError = undefined;
    time.pass(1000);
    assert.deepEqual(datapath.resolvers, ['10.7.3.3']);
    assert.deepEqual(feature.warnings!(undefined as never), []);
  });

  test('a policy without room is failed with the reason until there is room', () => {
    const { feature, datapath, list, time } = open();
    const problem = 'write map peer_vectors: full with 8 entries (raise sizes.policyPeerClasses)';
    datapath.problems.set(key, problem);
    feature.apply(
      [namespace('default'), pod('web', '10.7.0.2'), policy('allow', fromNamespace('default'))],
      true,
    );
    assert.deepEqual([list()[0]!.status, list()[0]!.reason], ['failed', problem]);
    assert.match(
      feature.warnings!(undefined as never).join(),
      /1 network policies are not programmed/,
    );
    const closed = (feature.status!() as { policies: { pods: object } }).policies.pods;
    assert.deepEqual(closed, { selected: 1, closed: 1 });
    time.pass(60_000);
    assert.ok(datapath.retries > 0, 'it is tried again');
    datapath.setProblem(key, undefined);
    assert.equal(list()[0]!.status, 'done');
    assert.deepEqual(feature.warnings!(undefined as never), []);
  });

  test('an error of the kernel fails the rows, and is tried again each second', () => {
    const { feature, datapath, list, time } = open();
    datapath.error = new Error('write map policy_peers: no memory');
    feature.apply([namespace('default'), pod('web', '10.7.0.2'), policy('allow')], true);
    assert.deepEqual([list()[0]!.status, list()[0]!.reason], ['failed', datapath.error.message]);
    datapath.error = undefined;
    time.pass(10_000);
    assert.equal(datapath.programmed, datapath.updates.length);
    assert.equal(list()[0]!.status, 'done');
  });

  test('a pod is held until its record has been seen, and its policies are programmed', () => {
    const { feature } = open();
    feature.apply([namespace('default'), policy('allow')], true);
    feature.attach!({ namespace: 'default', name: 'web', uid: 'uid-web' }, ['10.7.0.2']);
    let released = 0;
    const hold = feature.holdPod!('10.7.0.2', () => released++);
    assert.ok(hold);
    assert.equal(released, 0);
    feature.apply([pod('web')], true);
    assert.equal(released, 1);
    assert.equal(
      feature.holdPod!('10.7.0.2', () => {}),
      undefined,
    );
  });

  test('with a folder of manifests, a pod that it does not have has no labels and is not held', () => {
    const { feature, datapath } = open({ manifests: '/manifests' });
    feature.apply([namespace('default'), policy('allow')], true);
    feature.attach!({ namespace: 'default', name: 'other', uid: '' }, ['10.7.0.3']);
    assert.equal(
      feature.holdPod!('10.7.0.3', () => {}),
      undefined,
    );
    const [subjects] = datapath.updates.at(-1)!.subjects.upserted;
    assert.deepEqual([subjects!.pod, subjects!.ingress], ['default/other', undefined]);
  });

  test('verdicts name pods and rules, and are written only while somebody follows', () => {
    const { feature, datapath, request } = open();
    feature.apply(
      [namespace('default'), pod('web', '10.7.0.2'), policy('allow', fromNamespace('default'))],
      true,
    );
    feature.attach!({ namespace: 'default', name: 'web', uid: '' }, ['10.7.0.2']);
    const seen: VerdictEntry[] = [];
    let follows = true;
    request('policy.verdicts', {}, (entry) => {
      seen.push(entry as VerdictEntry);
      return follows;
    });
    assert.ok(datapath.isWatched);
    const tuple = { protocol: 'TCP', source: '10.7.9.9', sourcePort: 1234 };
    const verdict = { ...tuple, destination: '10.7.0.2', destinationPort: 80, ifindex: 7 };
    datapath.report({
      ...verdict,
      ...{ outcome: 'allowed', direction: undefined, egressRule: undefined, ingressRule: 0 },
    });
    assert.deepEqual(seen[0], {
      ...{ outcome: 'allowed', ...tuple, destination: '10.7.0.2', destinationPort: 80 },
      destinationPod: 'default/web',
      ingressRule: { policy: key, rule: 0, action: 'allow' },
    });
    follows = false;
    datapath.report({
      ...verdict,
      ...{ outcome: 'denied', direction: 'ingress', egressRule: undefined, ingressRule: undefined },
    });
    assert.deepEqual([seen[1]!.outcome, seen[1]!.direction], ['denied', 'ingress']);
    assert.equal(datapath.isWatched, false);
  });

  test('policies are listed in pages', () => {
    const { feature, request } = open();
    const names = Array.from({ length: 600 }, (_, i) => `p${1000 + i}`);
    feature.apply(
      [namespace('default'), pod('web', '10.7.0.2'), ...names.map((n) => policy(n))],
      true,
    );
    const first = request<{ items: PolicyEntry[]; next: string }>('policy.list');
    assert.deepEqual([first.items.length, first.next], [500, 'NetworkPolicy default/p1499']);
    const rest = request<{ items: PolicyEntry[]; next?: string }>('policy.list', {
      after: first.next,
    });
    assert.deepEqual([rest.items.length, rest.next], [100, undefined]);
  });

  test('takes the settings, and leaves what is programmed when it is released', () => {
    const { datapath, feature } = open();
    assert.deepEqual(datapath.options, [false, 'none']);
    const other = open({ policyOpenConnections: 'keep', policyDenyResponse: 'reset' });
    assert.deepEqual(other.datapath.options, [true, 'reset']);
    feature.release!();
    assert.ok(datapath.isReleased);
  });
});
