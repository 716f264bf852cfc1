// The container runtime waits for a pod as long as a feature holds it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '@heddle/sys/testing/eventually';
import { PodsNode } from '../../../testing/pods-node.ts';

test('ADD is answered once no feature holds the pod, which was reported before its interface was up', async () => {
  using node = new PodsNode();
  using pod = node.pod('c1');
  node.host.held.set('10.7.0.2', undefined);
  let answered = false;
  const added = node.add(pod).finally(() => {
    answered = true;
  });
  await eventually('the pod is held', () => node.host.held.get('10.7.0.2') !== undefined);
  const named = { namespace: 'default', name: 'c1', uid: 'uid-c1' };
  assert.deepEqual(node.host.attached.get('10.7.0.2'), named);
  assert.equal(node.attachments.length, 1);
  const other = await node.call('STATUS', undefined);
  assert.ok(other.isSuccess, 'other calls are answered meanwhile');
  assert.equal(answered, false);
  const release = node.host.held.get('10.7.0.2')!;
  node.host.held.delete('10.7.0.2');
  release();
  assert.deepEqual((await added).ips[0]!.address, '10.7.0.2/32');
  await node.remove(pod);
  await eventually('the pod is forgotten', () => !node.host.attached.has('10.7.0.2'));
});

test('a runtime that ends while its pod is held leaves the pod to DEL', async () => {
  using node = new PodsNode();
  using pod = node.pod('c1');
  node.host.held.set('10.7.0.2', undefined);
  const call = node.add(pod).catch((error: Error) => error);
  await eventually('the pod is held', () => node.host.held.get('10.7.0.2') !== undefined);
  node.feature[Symbol.dispose]();
  assert.ok((await call) instanceof Error, 'the call has no answer');
  assert.equal(node.host.held.has('10.7.0.2'), false, 'nothing waits any more');
  node.restart();
  assert.equal(node.attachments.length, 1);
  await node.remove(pod);
});

test('a pod that is held for 18 s is disconnected, and the runtime is asked to try again', async () => {
  using node = new PodsNode();
  using pod = node.pod('c1');
  node.host.held.set('10.7.0.2', undefined);
  const { isSuccess, output } = await node.call('ADD', pod);
  assert.deepEqual([isSuccess, output.code], [false, 11]);
  assert.match(
    output.msg,
    /the API server has not reported the Pod \S+\/\S+ with the UID \S+ in time/,
  );
  await eventually('the interface is gone', () => node.attachments.length === 0);
  assert.equal(node.host.held.size, 0);
});
