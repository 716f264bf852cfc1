import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { test } from 'node:test';
import { podInterfaceName } from '@heddle/ipam';
import { changeLink, deleteNamespace, findLink } from '@heddle/netlink';
import type { ObjectChange } from '@heddle/objects';
import { eventually } from '@heddle/sys/testing/eventually';
import { PodsNode, type TestPod } from '../../../testing/pods-node.ts';
import type { CheckedAttachment, RemovedAttachment } from './status.ts';

/** Mounts the namespace of a pod while `work` runs. */
async function mounted(pods: readonly TestPod[], work: () => Promise<void>): Promise<void> {
  mkdirSync('/run/netns', { recursive: true });
  const paths = pods.map(({ id }) => `/run/netns/heddle-control-${process.pid}-${id}`);
  try {
    for (const [i, { namespace }] of pods.entries()) namespace.mount(paths[i]!);
    await work();
  } finally {
    for (const path of paths) deleteNamespace(pods[0]!.platform, path);
  }
}

const change = (op: 'set' | 'delete', name: string) => {
  const ref = { kind: 'pod', namespace: 'default', name };
  return (op === 'set' ? { op, object: ref } : { op, ...ref }) as ObjectChange;
};

test('attachment.check reports what differs, in the kernel and in the datapath', async () => {
  using node = new PodsNode();
  using good = node.pod('c1');
  using bad = node.pod('c2');
  await node.add(good);
  await node.add(bad);
  const problems = () =>
    node
      .request<CheckedAttachment>('attachment.check')
      .map((checked) => [checked.name, checked.problems]);
  await mounted([good, bad], async () => {
    assert.deepEqual(problems(), [
      ['c1', []],
      ['c2', []],
    ]);
    const { index } = findLink(bad.socket, 'eth0')!;
    changeLink(bad.socket, index, { mtu: 1300 });
    const { ifindex } = node.attachments.find(({ name }) => name === 'c2')!;
    node.datapath.programmed.delete(ifindex);
    assert.deepEqual(problems(), [
      ['c1', []],
      ['c2', ['eth0 has the MTU 1300, not 1450', `interface ${ifindex} is not programmed`]],
    ]);
  });
});

test('attachment.gc removes pods without a namespace, and pods that the API server does not have', async () => {
  using node = new PodsNode();
  using kept = node.pod('kept');
  using deleted = node.pod('deleted');
  using hidden = node.pod('hidden');
  for (const pod of [kept, deleted, hidden]) await node.add(pod);
  const gone = (params: object) =>
    node
      .request<RemovedAttachment>('attachment.gc', params)
      .map(({ name, reason }) => `${name}: ${reason.replace(/:.*/, '')}`);
  const names = ['kept', 'deleted', 'hidden'];
  node.feature.apply(
    names.map((name) => change('set', name)),
    true,
  );
  await mounted([kept, deleted], async () => {
    node.feature.apply([change('delete', 'deleted')], true);
    // The object of a new pod may not have arrived yet, nor has it a process.
    assert.deepEqual(gone({ dryRun: true }), []);
    node.restart();
    node.feature.apply([change('set', 'kept'), change('set', 'hidden')], false);
    assert.deepEqual(gone({ dryRun: true }), ['hidden: its network namespace is gone']);
    node.feature.apply([], true);
    const all = ['deleted: its pod is gone', 'hidden: its network namespace is gone'];
    assert.deepEqual(gone({ dryRun: true }).sort(), all);
    assert.equal(node.attachments.length, 3);
    assert.deepEqual(gone({}).sort(), all);
    await eventually('the interfaces are removed', () => node.attachments.length === 1);
    assert.equal(findLink(node.socket, podInterfaceName('hidden', 'eth0')), undefined);
    assert.deepEqual(gone({}), []);
  });
  assert.throws(() => gone({ dryRun: 'yes' }), /dryRun is neither true nor false/);
});

test('attachment.gc removes no pod by its name where the source is a folder', async () => {
  using node = new PodsNode({ config: { manifests: '/nowhere' } });
  using pod = node.pod('c1');
  await node.add(pod);
  node.restart();
  await mounted([pod], async () => {
    assert.deepEqual(node.request('attachment.gc', {}), []);
  });
});
