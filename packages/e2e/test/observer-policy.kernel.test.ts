// The flows of pods with network policies: who decided, in events of dropped packets, of verdicts and of connections.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import {
  DropReason,
  type Flow,
  type FlowFilter,
  PolicyDecision_Relation,
  TrafficDirection,
  Verdict,
} from '@heddle/hubble/messages';
import { flowsAt, nearestRuleAt } from '@heddle/hubble/testing/client';
import { askTcp, askUdp, type LabNode, type LabPod, startBackend } from '@heddle/lab';
import { NodeNetworkLab } from '../testing/node-network-lab.ts';
import { ObserverProcess } from '../testing/observer-process.ts';

/** The real command of Hubble, if the environment names it. */
const hubble = process.env.HEDDLE_TEST_HUBBLE;

const names = ['client', 'spy', 'server', 'audited'] as const;
type Name = (typeof names)[number];

const networkPolicy = (app: string, mode: object, ...ingress: object[]) => ({
  ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
  metadata: { name: app, namespace: 'shop', ...mode },
  spec: { podSelector: { matchLabels: { app } }, policyTypes: ['Ingress'], ingress },
});
const fromApp = (app: string) => [{ podSelector: { matchLabels: { app } } }];

const objects = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } },
  networkPolicy(
    'server',
    {},
    { from: fromApp('client'), ports: [{ protocol: 'TCP', port: 8080 }] },
  ),
  networkPolicy('audited', { annotations: { 'heddle.io/policy-mode': 'audit' } }),
  {
    ...{ apiVersion: 'policy.networking.k8s.io/v1alpha2', kind: 'ClusterNetworkPolicy' },
    metadata: { name: 'guard' },
    spec: {
      ...{ tier: 'Admin', priority: 1, subject: { namespaces: {} } },
      egress: [
        {
          ...{ name: 'no-spying', action: 'Deny' },
          to: [{ pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: 'spy' } } } }],
        },
      ],
    },
  },
];

describe('flows of pods with network policies', () => {
  let network: NodeNetworkLab;
  let node: LabNode;
  let pods: Record<Name, LabPod>;
  let observer: ObserverProcess;

  before(async () => {
    network = new NodeNetworkLab('observer-policy', { nodes: 1, hasPods: false });
    network.add(...(objects as never[]));
    await network.start('--visibility');
    node = network.node(1);
    const made: Partial<Record<Name, LabPod>> = {};
    for (const name of names) made[name] = await network.addPod(node, { namespace: 'shop', name });
    pods = made as Record<Name, LabPod>;
    network.add(...names.map((name) => podObject(name) as never));
    await network.settled(node);
    for (const name of ['spy', 'server', 'audited'] as const) {
      await startBackend(pods[name], { echo: [8080, 8081] });
    }
    observer = await ObserverProcess.start(network, node);
  });
  after(async () => {
    await observer?.[Symbol.asyncDispose]();
    network?.[Symbol.dispose]();
  });

  const podObject = (name: Name) => ({
    ...{ apiVersion: 'v1', kind: 'Pod' },
    metadata: { name, namespace: 'shop', labels: { app: name } },
    spec: { nodeName: node.name, containers: [{ name: 'main' }] },
    status: {
      phase: 'Running',
      podIPs: [{ ip: pods[name].addresses.v4 }, { ip: pods[name].addresses.v6 }],
    },
  });

  /** Sends from one pod to another. Returns true if it was answered. */
  const reaches = (from: Name, to: Name, port: number, end: 'v4' | 'v6', ask = askTcp): boolean => {
    try {
      return ask(pods[from], { address: pods[to].addresses[end], port }, 'hello', 300) === 'hello';
    } catch {
      return false;
    }
  };

  /** Returns the first flow of a type between pods, after traffic that is sent until there is one. */
  const flowOf = async (
    [from, to, port, end]: [Name, Name, number, 'v4' | 'v6'],
    type: number,
    more: Partial<Pick<FlowFilter, 'reply' | 'protocol' | 'verdict'>> = {},
    ask = askTcp,
  ): Promise<Flow> =>
    network.until(`a flow from ${from} to ${to}`, async () => {
      const wanted = {
        ...{ sourceIp: [pods[from].addresses[end]], destinationIp: [pods[to].addresses[end]] },
        ...{ destinationPort: [`${port}`], eventType: [{ type }], ...more },
      };
      const [found] = await flowsAt(observer.socket, { whitelist: [wanted] });
      if (!found) reaches(from, to, port, end, ask);
      return found;
    });

  const policiesOf = (flow: Flow) => ({
    egressAllowed: flow.egressAllowedBy.map(({ name }) => name),
    ingressAllowed: flow.ingressAllowedBy.map(({ name }) => name),
    egressDenied: flow.egressDeniedBy.map(({ name }) => name),
    ingressDenied: flow.ingressDeniedBy.map(({ name }) => name),
  });
  const nobody = { egressAllowed: [], ingressAllowed: [], egressDenied: [], ingressDenied: [] };
  const decisionsOf = (flow: Flow) =>
    flow.heddle!.decisions.map(
      ({ relation, policy, rule, ruleName }) =>
        `${PolicyDecision_Relation[relation]} ${policy!.kind} ${policy!.namespace}/${policy!.name} ${rule}${ruleName}`,
    );

  for (const end of ['v4', 'v6'] as const) {
    test(`an allowed connection has the rule that allows it, ${end}`, async () => {
      for (const type of [5, 4]) {
        const flow = await flowOf(['client', 'server', 8080, end], type, { reply: [false] });
        assert.deepEqual(policiesOf(flow), { ...nobody, ingressAllowed: ['server'] });
        assert.deepEqual(decisionsOf(flow), ['DECIDES NetworkPolicy shop/server 1']);
        assert.equal(flow.verdict, Verdict.FORWARDED);
        assert.equal(flow.source?.labels[0], 'k8s:app=client');
        if (type === 5) assert.equal(flow.trafficDirection, TrafficDirection.INGRESS);
      }
    });

    for (const [protocol, ask] of [
      ['TCP', askTcp],
      ['UDP', askUdp],
    ] as const) {
      test(`a ${protocol} packet that no rule allows has the isolating policy and the nearest rule, ${end}`, async () => {
        for (const type of [1, 5]) {
          const flow = await flowOf(
            ['client', 'server', 8081, end],
            type,
            { protocol: [protocol] },
            ask,
          );
          assert.equal(flow.verdict, Verdict.DROPPED);
          assert.equal(flow.dropReasonDesc, DropReason.POLICY_DENIED);
          assert.equal(flow.trafficDirection, TrafficDirection.INGRESS);
          assert.deepEqual(policiesOf(flow), { ...nobody, ingressDenied: ['server'] });
          assert.deepEqual(decisionsOf(flow), [
            'ISOLATES NetworkPolicy shop/server 0',
            'NEAREST NetworkPolicy shop/server 1',
          ]);
        }
      });
    }

    test(`the nearest rule has the line of its policy that does not fit, ${end}`, async () => {
      const question = (source: Name, port: number) => ({
        ...{ source: pods[source].addresses[end], destination: pods.server.addresses[end] },
        ...{ protocol: 6, port, direction: TrafficDirection.INGRESS },
      });
      const failing = async (source: Name, port: number) => {
        const answer = await nearestRuleAt(observer.socket, question(source, port));
        const tests = answer.tests.filter(({ fits }) => !fits);
        return {
          tests: tests.map(({ what, rule, here }) => `${what}: ${rule} / ${here}`),
          lines: answer.failing.map((line) => answer.lines[line]?.trim()),
        };
      };
      assert.deepEqual(await failing('client', 8081), {
        tests: ['port: TCP 8080 / TCP 8081'],
        lines: ['- { protocol: TCP, port: 8080 }'],
      });
      assert.deepEqual(await failing('spy', 8080), {
        tests: ['peer: pods with app=client of namespace shop / shop/spy has app=spy'],
        lines: ['- podSelector:', 'matchLabels:', 'app: client'],
      });
      assert.deepEqual(await failing('client', 8080), { tests: [], lines: [] });
      await assert.rejects(
        nearestRuleAt(observer.socket, { ...question('client', 8081), source: 'client' }),
        /source is no IP address/,
      );
    });

    test(`a packet that a rule denies has the rule, ${end}`, async () => {
      for (const type of [1, 5]) {
        const flow = await flowOf(['client', 'spy', 8080, end], type);
        assert.equal(flow.verdict, Verdict.DROPPED);
        assert.equal(flow.dropReasonDesc, DropReason.POLICY_DENY);
        assert.equal(flow.trafficDirection, TrafficDirection.EGRESS);
        assert.deepEqual(policiesOf(flow), { ...nobody, egressDenied: ['guard'] });
        assert.deepEqual(decisionsOf(flow), ['DECIDES ClusterNetworkPolicy /guard 1no-spying']);
      }
    });

    test(`a connection that a policy in audit mode would deny is an audit verdict, ${end}`, async () => {
      assert.ok(reaches('client', 'audited', 8080, end), 'nothing is dropped');
      const flow = await flowOf(['client', 'audited', 8080, end], 5, { verdict: [Verdict.AUDIT] });
      assert.deepEqual(policiesOf(flow), { ...nobody, ingressDenied: ['audited'] });
      const trace = await flowOf(['client', 'audited', 8080, end], 4, { reply: [false] });
      assert.deepEqual([trace.verdict, policiesOf(trace)], [Verdict.FORWARDED, nobody]);
    });
  }

  test('verdicts and drops go on with the next agent', async () => {
    await network.kill(node);
    await network.startOn(node, '--visibility');
    const now = Date.now();
    const since = { seconds: BigInt(Math.floor(now / 1000)), nanos: (now % 1000) * 1e6 };
    for (const type of [1, 5]) {
      const flow = await network.until('a flow with the next agent', async () => {
        reaches('client', 'server', 8081, 'v4');
        const found = await flowsAt(observer.socket, {
          since,
          whitelist: [{ eventType: [{ type }], verdict: [Verdict.DROPPED] }],
        });
        return found.at(-1);
      });
      assert.deepEqual(decisionsOf(flow)[0], 'ISOLATES NetworkPolicy shop/server 0');
      assert.equal(flow.destination?.podName, 'server');
    }
  });

  test('the command hubble shows verdicts and policies', { skip: hubble === undefined }, () => {
    // By default the command asks for no directions and matches of policies.
    const whole = ['--use-default-field-masks=false'];
    const ask = (...args: string[]) =>
      execFileSync(
        hubble!,
        ['--server', `unix://${observer.socket}`, 'observe', '--all', ...args, ...whole],
        {
          encoding: 'utf8',
        },
      );
    assert.match(ask('--type', 'policy-verdict', '--verdict', 'AUDIT'), /policy-verdict.* AUDIT/);
    assert.match(ask('--type', 'policy-verdict', '--verdict', 'FORWARDED'), /INGRESS ALLOWED/);
    assert.match(
      ask('--verdict', 'DROPPED', '--to-pod', 'shop/server'),
      /POLICY_DENIED|Policy denied/,
    );
    assert.match(
      ask('-o', 'json', '--verdict', 'DROPPED', '--to-pod', 'shop/spy'),
      /egress_denied_by/,
    );
  });
});
