import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ObjectChange } from '@heddle/objects';
import { node, pod, service } from '@heddle/objects/testing/objects';
import { recordOf } from '@heddle/objects/testing/records';
import { VirtualTime } from '@heddle/state/testing/virtual-time';
import type { Platform } from '@heddle/sys';
import { FakeHost } from '../../../testing/host.ts';
import { namesFeature } from './names.ts';
import type { NameChanges } from './status.ts';

const set = (object: object): ObjectChange => ({ op: 'set', object: recordOf(object) });

function open(visibility = false) {
  const time = Object.assign(new VirtualTime(), { log: () => {} }) as unknown as Platform;
  const feature = namesFeature.open(new FakeHost(time, { visibility }), undefined);
  let revision = '';
  const list = (since = revision) => {
    const answer = feature.methods!['name.list']!({ since }, () => true) as NameChanges;
    revision = answer.revision;
    return answer;
  };
  /** Returns what has changed since the last call, in words. */
  const changes = () =>
    list().items.map((item) =>
      'isRemoved' in item
        ? `-${item.kind} ${item.name}`
        : `${item.kind} ${item.name} ${item.addresses.join(',')}`,
    );
  return { feature, list, changes };
}

/** A pod on a node, with labels and a controller. */
function labelledPod(name: string, address: string | readonly string[], nodeName: string) {
  const made = pod(name, address);
  const owner = { kind: 'ReplicaSet', name: 'web-1', controller: true };
  const labels = { app: 'web', 'pod-template-hash': '1' };
  return {
    ...made,
    metadata: { ...made.metadata, labels, ownerReferences: [owner] },
    spec: { ...made.spec, nodeName },
  };
}

test('all pods and nodes are watched with visibility, and none without', () => {
  const wanted = (visibility: boolean) =>
    open(visibility).feature.watches.map(({ kind, fieldSelector = '' }) => [
      kind.name,
      fieldSelector,
    ]);
  assert.deepEqual(wanted(false), []);
  assert.deepEqual(wanted(true), [
    ['pod', 'status.phase!=Succeeded,status.phase!=Failed'],
    ['node', ''],
  ]);
});

test('pods have their labels, workload and node, services their ports, nodes their ranges', () => {
  const { feature, list } = open(true);
  assert.equal(list().isComplete, false);
  feature.apply(
    [
      set(labelledPod('web-1-x', ['10.7.0.2', 'fd00:7::2'], 'n2')),
      set(
        service('web', ['10.96.0.9'], {
          type: 'NodePort',
          ports: [{ name: 'http', port: 80, nodePort: 30080 }],
        }),
      ),
      set(node('n2', ['192.0.2.2'], undefined, { podCIDRs: ['10.7.0.0/24'] })),
    ],
    true,
  );
  feature.setApiServers!([
    { address: '192.0.2.9', port: 6443 },
    { address: '192.0.2.9', port: 443 },
  ]);
  const { items, isFull, hasMore, isComplete } = list('');
  assert.deepEqual([isFull, hasMore, isComplete], [true, false, true]);
  assert.deepEqual(items, [
    {
      ...{ kind: 'pod', namespace: 'default', name: 'web-1-x', node: 'n2' },
      addresses: ['10.7.0.2', 'fd00:7::2'],
      labels: ['app', 'web', 'pod-template-hash', '1'],
      workload: { kind: 'Deployment', name: 'web' },
    },
    {
      ...{ kind: 'service', namespace: 'default', name: 'web', addresses: ['10.96.0.9'] },
      ports: [{ protocol: 'TCP', port: 80, nodePort: 30080 }],
    },
    {
      ...{ kind: 'node', namespace: '', name: 'n2', addresses: ['192.0.2.2'] },
      ...{ ranges: ['10.7.0.0/24'], labels: [] },
    },
    { kind: 'apiServer', namespace: '', name: '', addresses: ['192.0.2.9'] },
  ]);
});

test('a reader gets what has changed, and nothing for changes that do not change names', () => {
  const { feature, changes, list } = open(true);
  feature.apply([set(pod('a', '10.7.0.2')), set(pod('b', '10.7.0.3'))], true);
  assert.deepEqual(changes(), ['pod a 10.7.0.2', 'pod b 10.7.0.3']);
  feature.apply([set(pod('a', '10.7.0.2'))], true);
  assert.deepEqual(changes(), []);
  feature.apply([{ op: 'delete', kind: 'pod', namespace: 'default', name: 'a' }], true);
  assert.deepEqual(changes(), ['-pod a']);
  assert.equal(list('earlier.7.7').isFull, true, 'the revision of another run');
  assert.throws(() => list('seven'), /since seven is no revision/);
});

test('a pod of this node has a name as soon as it has an interface, and until that is gone', () => {
  const { feature, changes, list } = open();
  feature.attach!({ namespace: 'default', name: 'a', uid: '' }, ['10.7.0.2']);
  assert.deepEqual(changes(), ['pod a 10.7.0.2']);
  // The API server does not have the address yet.
  feature.apply([set(labelledPod('a', [], 'n1')), set(labelledPod('later', [], 'n2'))], true);
  assert.deepEqual(changes(), ['pod a 10.7.0.2']);
  const [entry] = list('').items;
  assert.ok(entry && 'workload' in entry, 'it has the labels and the workload of its object');
  feature.apply([set(labelledPod('a', '10.7.0.2', 'n1'))], true);
  assert.deepEqual(changes(), []);
  feature.apply([{ op: 'delete', kind: 'pod', namespace: 'default', name: 'a' }], true);
  assert.deepEqual(changes(), []);
  feature.detach!(['10.7.0.2']);
  assert.deepEqual(changes(), ['-pod a']);
});

test('a pod whose interface goes first keeps its name while its object has the address', () => {
  const { feature, changes } = open();
  feature.attach!({ namespace: 'default', name: 'a', uid: '' }, ['10.7.0.2']);
  feature.apply([set(labelledPod('a', '10.7.0.2', 'n1'))], true);
  assert.deepEqual(changes(), ['pod a 10.7.0.2']);
  feature.detach!(['10.7.0.2']);
  assert.deepEqual(changes(), []);
  feature.apply([set(labelledPod('a', [], 'n1'))], true);
  assert.deepEqual(changes(), ['-pod a']);
});

test('without visibility, pods of other nodes have no names', () => {
  const { feature, changes } = open();
  feature.apply(
    [set(labelledPod('near', '10.7.1.2', 'n1')), set(labelledPod('far', '10.7.2.2', 'n2'))],
    true,
  );
  assert.deepEqual(changes(), ['pod near 10.7.1.2']);
});
