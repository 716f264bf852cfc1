import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ApiServer } from '@heddle/kube/testing/api-server';
import { policyReader } from '@heddle/objects';
import { nodePlatform } from '@heddle/sys/node';
import { eventually } from '@heddle/sys/testing/eventually';
import { FakeHost } from '../../../testing/host.ts';
import { MemoryPolicy } from '../../../testing/memory-policy.ts';
import { openAccess } from '../../../testing/open-access.ts';
import type { Feature } from '../../feature.ts';
import { openClusterSource, type Source } from '../../source/index.ts';
import { policyFeature } from './policy.ts';

// The API server has no ClusterNetworkPolicies.
const namespace = (name: string) => ({
  ...{ apiVersion: 'v1', kind: 'Namespace' },
  metadata: { name, labels: { team: name } },
});
const pod = (name: string, namespace: string, nodeName: string, ip?: string) => ({
  ...{ apiVersion: 'v1', kind: 'Pod' },
  metadata: { name, namespace, labels: { app: name } },
  spec: { nodeName, containers: [{ name: 'main' }] },
  status: { phase: 'Running', ...(ip === undefined ? {} : { podIP: ip, podIPs: [{ ip }] }) },
});
const policy = (name: string, team: string) => ({
  ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
  metadata: { name, namespace: 'shop' },
  spec: {
    podSelector: { matchLabels: { app: 'web' } },
    ingress: [{ from: [{ namespaceSelector: { matchLabels: { team } } }] }],
  },
});

const platform = nodePlatform(() => {});
let server: ApiServer;
let feature: Feature;
let source: Source;
const datapath = new MemoryPolicy();
/** The peers that are programmed, with their classes. */
const peers = () => {
  const assigned = new Map<string, number>();
  for (const { peers: changes } of datapath.updates.slice(0, datapath.programmed)) {
    for (const [range, number] of changes.assigned) {
      if (number === undefined) assigned.delete(range);
      else assigned.set(range, number);
    }
  }
  return [...assigned.keys()].sort();
};

before(async () => {
  server = await ApiServer.start();
  for (const name of ['shop', 'team', 'other']) server.set(namespace(name));
  server.set(pod('web', 'shop', 'n1', '10.7.1.2'));
  server.set(pod('client', 'team', 'n2', '10.7.2.2'));
  server.set(pod('client', 'other', 'n2', '10.7.2.3'));
  server.set(policy('allow', 'team'));
  const host = new FakeHost(platform, { network: true });
  host.rewatch = () => source.rewatch();
  feature = policyFeature.open(host, { policy: datapath, verdicts: datapath.verdicts });
  source = openClusterSource({
    ...{ platform, access: openAccess(server.url) },
    demand: {
      reader: policyReader,
      watches: () => feature.watches,
      observe: (change) => feature.observe!(change),
      beforeFirst: () => feature.beforeFirst!(),
    },
    listener: {
      onChange: ({ changes, complete }) => feature.apply(changes, complete),
      onPhase: () => {},
      onApiServers: () => {},
    },
  });
});
after(async () => {
  source?.[Symbol.dispose]();
  feature?.[Symbol.dispose]();
  await server.stop();
});

test('the first policies are programmed with the pods of other nodes, without ClusterNetworkPolicies', async () => {
  await eventually('the policy is programmed', () => datapath.programmed > 0);
  assert.deepEqual(peers(), ['10.7.2.2/32']);
  const podLists = server
    .takeRequests()
    .filter(({ kind }) => kind === 'Pod')
    .map(({ path }) => path);
  assert.ok(podLists.some((path) => path === '/api/v1/namespaces/team/pods'));
  assert.ok(podLists.every((path) => path !== '/api/v1/namespaces/other/pods'));
});

test('a policy that changes, and one that vanishes, change what is watched and programmed', async () => {
  server.set(policy('allow', 'other'));
  await eventually('the other client is a peer', () => peers().join() === '10.7.2.3/32');
  server.remove('NetworkPolicy', 'shop', 'allow');
  await eventually('nobody is a peer', () => peers().length === 0);
  assert.equal(datapath.present.length, 0);
});

test('a new pod is held until the API server reports it', async () => {
  server.set(policy('allow', 'team'));
  feature.attach!({ namespace: 'shop', name: 'late', uid: '' }, ['10.7.1.3']);
  let isReleased = false;
  const hold = feature.holdPod!('10.7.1.3', () => {
    isReleased = true;
  });
  assert.ok(hold);
  server.set(pod('late', 'shop', 'n1'));
  await eventually('the pod may start', () => isReleased);
});
