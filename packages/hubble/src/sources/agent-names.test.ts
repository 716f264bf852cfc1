import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NameChanges, NameEntry, PodName, RemovedName } from '@heddle/agent';
import type { ControlSource } from '@heddle/control';
import { parseIp } from '@heddle/sys';
import { AgentNames } from './agent-names.ts';
import { NameFeed } from './name-feed.ts';

const cart: PodName = {
  ...{ kind: 'pod', namespace: 'shop', name: 'cart-1', node: 'n1' },
  addresses: ['10.244.1.5', 'fd00:1::5'],
  labels: ['app', 'cart', 'pod-template-hash', '5c4'],
  workload: { kind: 'Deployment', name: 'cart' },
};
const node = (name: string, address: string, range: string): NameEntry => ({
  ...{ kind: 'node', namespace: '', name, addresses: [address], ranges: [range] },
  labels: ['zone', 'a'],
});
const nodes = [node('n1', '192.0.2.1', '10.244.1.0/24'), node('n2', '192.0.2.2', '10.244.2.0/24')];

function namesOf(...items: readonly NameEntry[]): AgentNames {
  const names = new AgentNames('berlin', 'n1');
  names.setNode(['192.0.2.1', 'fd00::1'], new Map());
  names.apply({ isFull: true, items });
  return names;
}

const endpoint = (names: AgentNames, address: string) => names.party(parseIp(address)!).endpoint;
const labels = (names: AgentNames, address: string) => endpoint(names, address).labels.join();

test('a pod has its name, workload and labels, by each of its addresses', () => {
  const names = namesOf(cart);
  const { namespace, podName, clusterName, workloads, ...more } = endpoint(names, '10.244.1.5');
  assert.deepEqual([namespace, podName, clusterName], ['shop', 'cart-1', 'berlin']);
  assert.deepEqual([workloads[0]!.kind, workloads[0]!.name], ['Deployment', 'cart']);
  assert.deepEqual(more.labels, ['k8s:app=cart', 'k8s:io.kubernetes.pod.namespace=shop']);
  assert.equal(names.party(parseIp('fd00:1::5')!), names.party(parseIp('10.244.1.5')!));
});

test('replicas have one identity on all nodes, and pods of other namespaces another one', () => {
  const replica = { ...cart, name: 'cart-2', node: 'n2', addresses: ['10.244.2.6'] };
  const other = { ...cart, namespace: 'test', addresses: ['10.244.2.7'] };
  const names = namesOf(cart, replica, other);
  const identity = (address: string) => endpoint(names, address).identity;
  assert.equal(identity('10.244.1.5'), identity('10.244.2.6'));
  assert.notEqual(identity('10.244.1.5'), identity('10.244.2.7'));
  assert.equal(names.isLocalPod(parseIp('10.244.1.5')!), true);
  assert.equal(names.isLocalPod(parseIp('10.244.2.6')!), false);
});

test('addresses of nodes, API servers, unknown pods and the world have reserved identities', () => {
  const apiServer = (...addresses: string[]): NameEntry => ({
    ...{ kind: 'apiServer', namespace: '', name: '', addresses },
  });
  const names = namesOf(...nodes, apiServer('198.51.100.1'));
  assert.deepEqual(
    [
      '192.0.2.1',
      'fd00::1',
      '192.0.2.2',
      '198.51.100.1',
      '10.244.2.77',
      '8.8.8.8',
      '2001:db8::1',
    ].map((address) => [endpoint(names, address).identity, labels(names, address)]),
    [
      [1, 'reserved:host'],
      [1, 'reserved:host'],
      [6, 'reserved:remote-node'],
      [7, 'reserved:kube-apiserver'],
      [3, 'reserved:unmanaged'],
      [2, 'reserved:world'],
      [2, 'reserved:world'],
    ],
  );
  names.apply({ isFull: false, items: [apiServer('192.0.2.1', '192.0.2.2')] });
  assert.equal(labels(names, '192.0.2.1'), 'reserved:host,reserved:kube-apiserver');
  assert.equal(labels(names, '192.0.2.2'), 'reserved:kube-apiserver,reserved:remote-node');
  assert.equal(labels(names, '198.51.100.1'), 'reserved:world');
  assert.deepEqual(names.nodeLabels, ['zone=a']);
});

test('a pod that does not change keeps its object, also when the list begins anew', () => {
  const names = namesOf(cart);
  const before = names.party(parseIp('10.244.1.5')!);
  names.apply({ isFull: true, items: [{ ...cart, addresses: [...cart.addresses] }] });
  assert.equal(names.party(parseIp('10.244.1.5')!), before);
  names.apply({ isFull: false, items: [{ ...cart, labels: ['app', 'shop'] }] });
  assert.equal(labels(names, '10.244.1.5'), 'k8s:app=shop,k8s:io.kubernetes.pod.namespace=shop');
  assert.equal(before.endpoint.labels[0], 'k8s:app=cart', 'earlier flows keep theirs');
  names.apply({ isFull: true, items: nodes });
  assert.equal(labels(names, '10.244.1.5'), 'reserved:unmanaged');
});

test('an address that another pod has by now is not lost with the pod before', () => {
  const names = namesOf(cart);
  const next = { ...cart, name: 'cart-9', addresses: ['10.244.1.5'] };
  const removed: RemovedName = {
    ...{ kind: 'pod', namespace: 'shop', name: 'cart-1', isRemoved: true },
  };
  names.apply({ isFull: false, items: [next, removed] });
  assert.equal(endpoint(names, '10.244.1.5').podName, 'cart-9');
  assert.equal(labels(names, 'fd00:1::5'), 'reserved:world');
});

test('addresses of the world have the names that name servers answer, pods and nodes never', () => {
  const names = namesOf(cart, ...nodes);
  const named = (address: string) => names.party(parseIp(address)!).names;
  const addresses = ['8.8.8.8', '2001:db8::8', '10.244.1.5', 'fd00:1::5', '192.0.2.1', '192.0.2.2'];
  assert.deepEqual(named('8.8.8.8'), []);
  names.learn({ query: 'dns.example', addresses: [...addresses, '10.244.2.77', 'x'], ttl: 60 });
  assert.deepEqual(named('8.8.8.8'), ['dns.example']);
  assert.deepEqual(named('2001:db8::8'), ['dns.example']);
  assert.equal(names.party(parseIp('8.8.8.8')!), names.party(parseIp('2001:db8::8')!));
  for (const address of [...addresses.slice(2), '10.244.2.77']) {
    assert.deepEqual(named(address), [], address);
  }
  names.learn({ query: 'www.example', addresses: ['8.8.8.8'], ttl: 60 });
  assert.deepEqual(named('8.8.8.8'), ['www.example', 'dns.example']);
  // A pod that gets such an address has its own name.
  names.apply({ isFull: false, items: [{ ...cart, name: 'late', addresses: ['8.8.8.8'] }] });
  assert.deepEqual([named('8.8.8.8'), endpoint(names, '8.8.8.8').podName], [[], 'late']);
});

test('services are found by their addresses and by NodePorts of this node', () => {
  const service = (name: string, port: number, nodePort: number): NameEntry => ({
    ...{ kind: 'service', namespace: 'shop', name, addresses: ['10.96.0.7', '192.0.2.1'] },
    ports: [{ protocol: 'TCP', port, nodePort }],
  });
  const names = namesOf(service('cart', 80, 30080), service('own', 30080, 0));
  const name = (address: string, port: number, protocol = 6) =>
    names.service(parseIp(address)!, port, protocol)?.name;
  assert.equal(name('10.96.0.7', 80), 'cart');
  assert.equal(name('10.96.0.7', 80, 17), undefined);
  assert.equal(name('fd00::1', 30080), 'cart');
  assert.equal(name('192.0.2.1', 30080), 'own', 'its own address comes before a NodePort');
  assert.equal(name('192.0.2.2', 30080), undefined);
  names.setNode(['203.0.113.1'], new Map());
  assert.equal(name('203.0.113.1', 30080), 'cart');
  assert.equal(name('fd00::1', 30080), undefined);
});

/** An agent whose answers to `name.list` a test gives. */
function agentWith(answers: readonly Partial<NameChanges>[]) {
  const asked: unknown[] = [];
  const left = [...answers];
  const request = async (_method: string, params?: Record<string, unknown>) => {
    asked.push(params?.since);
    const usual = { items: [], revision: '', hasMore: false, isFull: false, isComplete: true };
    return { ...usual, ...left.shift() };
  };
  return { asked, agent: { request } as unknown as ControlSource };
}

test('names are read page by page, and then from the revision of the last page', async () => {
  const { agent, asked } = agentWith([
    { isComplete: false, revision: 'a.0.0' },
    { isFull: true, items: [cart], revision: 'a.1.2', hasMore: true },
    { items: nodes, revision: 'a.3.3' },
    { items: [], revision: 'a.3.3' },
  ]);
  const feed = new NameFeed();
  assert.equal(await feed.read(agent), undefined);
  assert.deepEqual(await feed.read(agent), { isFull: true, items: [cart, ...nodes] });
  assert.deepEqual(await feed.read(agent), { isFull: false, items: [] });
  assert.deepEqual(asked, ['', '', 'a.1.2', 'a.3.3']);
});

test('a list that begins anew replaces the pages before', async () => {
  const { agent } = agentWith([
    { items: [cart], revision: 'b.1.1', hasMore: true },
    { isFull: true, items: nodes, revision: 'b.9.9' },
  ]);
  assert.deepEqual(await new NameFeed().read(agent), { isFull: true, items: nodes });
});
