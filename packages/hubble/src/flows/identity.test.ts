import assert from 'node:assert/strict';
import { test } from 'node:test';
import { identityLabels, identityOf } from './identity.ts';

test('labels of an identity are those that replicas share, with the namespace', () => {
  const labels = [
    ...['app', 'web', 'app.kubernetes.io/name', 'web', 'tier', ''],
    ...[
      'pod-template-hash',
      '5c4',
      'controller-revision-hash',
      'x',
      'job.beta.kubernetes.io/a',
      'b',
    ],
    ...['statefulset.kubernetes.io/pod-name', 'web-0', 'apps.kubernetes.io/pod-index', '0'],
    ...['batch.kubernetes.io/controller-uid', 'u', 'kubernetes.io/hostname', 'n1'],
  ];
  assert.deepEqual(identityLabels('shop', labels), [
    'k8s:app.kubernetes.io/name=web',
    'k8s:app=web',
    'k8s:io.kubernetes.pod.namespace=shop',
    'k8s:tier=',
  ]);
});

test('an identity depends on the labels only, not on their order, and is none of the reserved ones', () => {
  const labels = identityLabels('shop', ['app', 'web']);
  // It is the same on each node and after each update.
  assert.equal(identityOf(labels), identityOf([...labels].reverse()));
  assert.equal(identityOf(labels), 14_568_000);
  assert.notEqual(identityOf(identityLabels('other', ['app', 'web'])), identityOf(labels));
  for (let i = 0; i < 1000; i++) {
    const identity = identityOf(identityLabels('shop', ['app', `${i}`]));
    assert.ok(identity >= 256 && identity < 1 << 24);
  }
});
