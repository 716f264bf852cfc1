import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PodLimits } from '@heddle/datapath';
import { addAddress, addRoute, createVeth, NetlinkSocket, NetworkNamespace } from '@heddle/netlink';
import type { ObjectChange, PodRecord } from '@heddle/objects';
import { nodePlatform } from '@heddle/sys/node';
import { eventually } from '@heddle/sys/testing/eventually';
import { FakeHost } from '../../../testing/host.ts';
import { bandwidthFeature } from './bandwidth.ts';

const platform = nodePlatform(() => {});

const pod = (name: string, more: Partial<PodRecord> = {}): ObjectChange => {
  const object: PodRecord = {
    ...{ kind: 'pod', namespace: 'default', name, uid: '', createdMs: 0, nodeName: 'n1' },
    ...{ addresses: ['10.7.0.2'], hostPorts: [], terminating: false, problems: [] },
    ...{ labels: [], workload: undefined, namedPorts: [] },
    bandwidth: { egress: 1_000_000, ingress: undefined },
    ...more,
  };
  return { op: 'set', object };
};

test('pods of the node are limited, named when fq is missing, and released', async () => {
  using namespace = NetworkNamespace.create(platform);
  namespace.enter(() => {
    using socket = new NetlinkSocket(platform);
    const { link } = createVeth(socket, { name: 'up0', up: true }, { name: 'up1', up: true });
    addAddress(socket, link.index, '192.0.2.1/24');
    addRoute(socket, { destination: '0.0.0.0/0', link: link.index, via: '192.0.2.254' });
  });
  const limits = new Map<string, PodLimits>();
  const pruned: string[][] = [];
  const paced: boolean[] = [];
  const bandwidth = {
    set: (row: PodLimits) => void limits.set(row.addresses.join(), row),
    remove: (addresses: readonly string[]) => void limits.delete(addresses.join()),
    prune: (addresses: ReadonlySet<string>) => void pruned.push([...addresses]),
    setPaced: (isPaced: boolean) => void paced.push(isPaced),
  };
  const host = new FakeHost(platform, { network: true });
  using feature = bandwidthFeature.open(host, { bandwidth });
  const apply = (changes: readonly ObjectChange[], isComplete = true) =>
    namespace.enter(() => feature.apply(changes, isComplete));
  const warnings = () => feature.warnings!({} as never);

  apply([pod('a'), pod('elsewhere', { nodeName: 'n2', addresses: ['10.7.1.2'] })], false);
  await eventually('the pod is limited', () => limits.size === 1);
  assert.equal(limits.get('10.7.0.2')?.egress, 1_000_000);
  assert.deepEqual(paced, [false]);
  assert.match(
    warnings().join(),
    /egress bandwidth of default\/a is enforced by drops, because up0/,
  );

  apply([pod('a', { bandwidth: { egress: 2_000_000, ingress: 3000 } })]);
  await eventually('the limit has changed', () => limits.get('10.7.0.2')?.ingress === 3000);
  await eventually('others are pruned', () => pruned.length === 1);
  assert.deepEqual(pruned, [['10.7.0.2']]);

  apply([pod('a', { bandwidth: undefined, problems: ['annotation x is "y"'] })]);
  await eventually('the pod is released', () => limits.size === 0);
  assert.deepEqual(warnings(), ['Pod default/a: annotation x is "y"']);
  apply([{ op: 'delete', kind: 'pod', namespace: 'default', name: 'a' }]);
  assert.deepEqual(warnings(), []);
});

test('nothing is watched where Heddle is not the network of the pods', () => {
  using feature = bandwidthFeature.open(new FakeHost(platform), { bandwidth: undefined as never });
  assert.deepEqual(feature.watches, []);
});
