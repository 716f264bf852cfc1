import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readWorkload } from './workload.ts';

type Owner = { kind: string; name: string; controller: boolean | null };

function workloadOf(
  kind: string,
  name: string,
  labels: Record<string, string> = {},
  more: readonly Owner[] = [],
): string | undefined {
  const owner = { kind, name, controller: true };
  const workload = readWorkload({ labels, ownerReferences: [...more, owner] });
  return workload && `${workload.kind} ${workload.name}`;
}

test('a ReplicaSet with the hash of its pods stands for its Deployment', () => {
  const hash = { 'pod-template-hash': '6d4cf56db6' };
  assert.equal(workloadOf('ReplicaSet', 'web-6d4cf56db6', hash), 'Deployment web');
  assert.equal(workloadOf('ReplicaSet', 'a-b-c-6d4cf56db6', hash), 'Deployment a-b-c');
});

test('a ReplicaSet of its own keeps its name, whatever its pods have as hash', () => {
  assert.equal(workloadOf('ReplicaSet', 'web-6d4cf56db6'), 'ReplicaSet web-6d4cf56db6');
  assert.equal(workloadOf('ReplicaSet', 'web', { 'pod-template-hash': 'b' }), 'ReplicaSet web');
  assert.equal(workloadOf('ReplicaSet', 'web-', { 'pod-template-hash': '' }), 'ReplicaSet web-');
  assert.equal(workloadOf('ReplicaSet', '-x', { 'pod-template-hash': 'x' }), 'ReplicaSet -x');
});

test('a Job that a CronJob has started stands for it', () => {
  assert.equal(workloadOf('Job', 'backup-29406060'), 'CronJob backup');
  assert.equal(workloadOf('Job', 'nightly-1-29406060'), 'CronJob nightly-1');
  assert.equal(workloadOf('Job', 'import-2024'), 'Job import-2024');
  assert.equal(workloadOf('Job', 'import'), 'Job import');
});

test('other controllers are workloads themselves', () => {
  for (const kind of ['StatefulSet', 'DaemonSet', 'ReplicationController', 'CloneSet', 'Node']) {
    assert.equal(workloadOf(kind, 'db'), `${kind} db`);
  }
});

test('only the controller counts, and a pod without one has no workload', () => {
  const others = [
    { kind: 'Service', name: 'other', controller: null },
    { kind: 'Certificate', name: 'other', controller: false },
  ];
  assert.equal(workloadOf('StatefulSet', 'db', {}, others), 'StatefulSet db');
  assert.equal(readWorkload({ labels: null, ownerReferences: others }), undefined);
  assert.equal(readWorkload({ labels: undefined, ownerReferences: undefined }), undefined);
  assert.equal(readWorkload({ labels: {}, ownerReferences: null }), undefined);
});

test('pods of a workload share its record', () => {
  const owner = { kind: 'DaemonSet', name: 'agent', controller: true };
  assert.equal(
    readWorkload({ labels: {}, ownerReferences: [owner] }),
    readWorkload({ labels: {}, ownerReferences: [{ ...owner }] }),
  );
});
