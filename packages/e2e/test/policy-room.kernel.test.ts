// Agents whose tables for network policies are too small: what they close, what they report, and how they recover.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { AgentEvent, PolicyEntry } from '@heddle/agent';
import { askTcp, type LabNode, startBackend } from '@heddle/lab';
import type { ManifestObject } from '../testing/node-network-lab.ts';
import { namespaceObject, PolicyLab } from '../testing/policy/policy-lab.ts';

const networkPolicy = (name: string, app: string, spec: object) =>
  ({
    ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
    metadata: { name, namespace: 'shop' },
    spec: { podSelector: { matchLabels: { app } }, ...spec },
  }) as never as ManifestObject;
const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);
const allowClient = { from: [{ podSelector: { matchLabels: { app: 'client' } } }] };

/** A policy for the pod `big` that asks for more than a table has, by the setting of the table's size. */
const tables: Readonly<Record<string, { map: string; size: number; ingress: readonly object[] }>> =
  {
    policyRanges: {
      ...{ map: 'policy_ranges', size: 6 },
      ingress: [
        allowClient,
        { from: numbers(20).map((i) => ({ ipBlock: { cidr: `198.51.${i}.0/24` } })) },
      ],
    },
    policyPeers: {
      ...{ map: 'policy_peers', size: 6 },
      ingress: [
        allowClient,
        { from: numbers(20).map((i) => ({ ipBlock: { cidr: `198.51.100.${i}/32` } })) },
      ],
    },
    policyPeerClasses: {
      ...{ map: 'peer_vectors', size: 6 },
      ingress: [
        allowClient,
        ...numbers(20).map((i) => ({ from: [{ ipBlock: { cidr: `198.51.${i}.0/24` } }] })),
      ],
    },
    policyPortClasses: {
      ...{ map: 'port_vectors', size: 8 },
      ingress: [
        allowClient,
        ...numbers(20).map((i) => ({ ports: [{ protocol: 'TCP', port: 9000 + i }] })),
      ],
    },
  };

for (const [setting, { map, size, ingress }] of Object.entries(tables)) {
  describe(`network policies without room in ${map}`, () => {
    const big = networkPolicy('big', 'big', {
      ...{ ingress, policyTypes: ['Ingress', 'Egress'] },
      egress: [{ to: allowClient.from }],
    });
    let lab: PolicyLab;
    let node: LabNode;
    before(async () => {
      const sizes = { [setting]: size };
      lab = new PolicyLab(`room-${setting.toLowerCase()}`, 'direct', {
        nodes: 1,
        settings: { sizes },
      });
      lab.add(
        namespaceObject('shop', {}),
        networkPolicy('small', 'small', { ingress: [allowClient] }),
      );
      await lab.start();
      node = lab.node(1);
      for (const name of ['client', 'big', 'small']) {
        const spec = { namespace: 'shop', name, labels: { app: name }, node: 1, ports: [] };
        await lab.connect(spec);
      }
      for (const name of ['big', 'small', 'client']) {
        await startBackend(lab.hostOf(`shop/${name}`), { echo: [8080] });
      }
      await lab.apply();
    });
    after(() => lab?.[Symbol.dispose]());

    const reaches = (from: string, to: string, end: 'v4' | 'v6'): boolean => {
      const address = lab.hostOf(`shop/${to}`).addresses[end];
      try {
        return (
          askTcp(lab.hostOf(`shop/${from}`), { address, port: 8080 }, 'hello', 500) === 'hello'
        );
      } catch {
        return false;
      }
    };
    const expectPaths = (isBigOpen: boolean, what: string) => {
      for (const end of ['v4', 'v6'] as const) {
        assert.equal(reaches('client', 'small', end), true, `${what}: client to small, ${end}`);
        assert.equal(reaches('client', 'big', end), isBigOpen, `${what}: client to big, ${end}`);

        assert.equal(reaches('big', 'client', end), isBigOpen, `${what}: big to client, ${end}`);
      }
    };
    const policies = async () => {
      const { items } = (await lab.request(node, 'policy.list')) as { items: PolicyEntry[] };
      return new Map(items.map((each) => [each.policy, each]));
    };

    test('the pod is closed, the policy is failed with the reason, and both recover', async () => {
      expectPaths(true, 'without the policy');
      const reason = new RegExp(`write map ${map}: full .*raise sizes\\.${setting}\\)`);
      for (const round of [1, 2]) {
        lab.change({ put: [big] });
        const failed = await lab.until('the policy to fail', async () => {
          const found = (await policies()).get('NetworkPolicy shop/big');
          return found?.status === 'failed' ? found : undefined;
        });
        assert.match(failed.reason!, reason);
        assert.equal((await policies()).get('NetworkPolicy shop/small')!.status, 'done');
        expectPaths(false, `closed, round ${round}`);
        const status = await lab.status(node);
        assert.deepEqual(status.policies!.pods, { selected: 2, closed: 1 });
        assert.equal(status.rows.failed, 1);
        assert.ok(
          status.warnings.some((each) =>
            /^1 network policies are not programmed, so 1 pods/.test(each),
          ),
          status.warnings.join('\n'),
        );
        const { items } = (await lab.request(node, 'events.list')) as { items: AgentEvent[] };
        const named = items.filter(({ message }) => reason.test(message));
        assert.ok(named.some(({ subject }) => subject === 'NetworkPolicy shop/big'));
        await lab.apply({ remove: [big] });
        expectPaths(true, `recovered, round ${round}`);
        const after = await lab.status(node);
        assert.deepEqual(after.policies!.pods, { selected: 1, closed: 0 });
        assert.ok(!after.warnings.some((each) => each.includes('not programmed')));
      }
    });
  });
}
