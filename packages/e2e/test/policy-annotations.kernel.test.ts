// Annotations of network policies, with agents that read them and real connections.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { VerdictEntry } from '@heddle/agent';
import { ControlClient } from '@heddle/control';
import { askHttp, askTcp, startBackend } from '@heddle/lab';
import { SysError } from '@heddle/sys';
import { namespaceObject, PolicyLab } from '../testing/policy/policy-lab.ts';

const responseAnnotation = 'heddle.io/policy-deny-response';
const spec = (name: string, node: number) => ({
  ...{ namespace: 'shop', name, node, ports: [] },
  labels: { app: name },
});

describe('annotations of network policies', () => {
  let lab: PolicyLab;
  before(async () => {
    lab = new PolicyLab('policy-annotations', 'direct', {
      settings: { metricsAddress: '127.0.0.1:10249' },
    });
    lab.add(namespaceObject('shop', {}));
    await lab.start();
    await lab.connect(spec('server', 1));
    await lab.connect(spec('near', 1));
    await lab.connect(spec('far', 2));
    await startBackend(lab.hostOf('shop/server'), { echo: [8080] });
    await lab.apply();
  });
  after(() => lab?.[Symbol.dispose]());

  type Annotations = Readonly<Record<string, string>>;
  const policy = (name: string, app: string, policyTypes: string[], annotations: Annotations) =>
    ({
      ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
      metadata: { name, namespace: 'shop', annotations },
      spec: { podSelector: { matchLabels: { app } }, policyTypes },
    }) as never;
  const respond = (response: string) => ({ [responseAnnotation]: response });

  /** Returns the error that a connection to the server ends with, or `connected`. */
  const connect = (from: string, end: 'v4' | 'v6', timeoutMs = 4000): string => {
    const address = lab.hostOf('shop/server').addresses[end];
    try {
      askTcp(lab.hostOf(`shop/${from}`), { address, port: 8080 }, 'hello', timeoutMs);
      return 'connected';
    } catch (error) {
      assert.ok(error instanceof SysError, String(error));
      return error.code;
    }
  };
  // Linux makes different errors of ICMP and of ICMPv6.
  const expected = {
    reset: ['ECONNREFUSED'],
    icmp: ['EHOSTUNREACH', 'EACCES'],
    none: ['ETIMEDOUT'],
  } as const;
  const expectResponse = (from: string, response: keyof typeof expected, what: string) => {
    for (const end of ['v4', 'v6'] as const) {
      // An ICMP error that comes before connect() waits counts from the second SYN on, a second later.
      const outcome = connect(from, end, response === 'none' ? 300 : undefined);
      const wanted: readonly string[] = expected[response];
      assert.ok(wanted.includes(outcome), `${what}, ${from}, ${end}: ${outcome}, not ${response}`);
    }
  };

  for (const [direction, selected] of [
    ['Ingress', 'server'],
    ['Egress', 'near'],
  ] as const) {
    test(`the policy that denies decides about the response, ${direction}`, async () => {
      const clients = direction === 'Ingress' ? ['near', 'far'] : ['near'];
      const put = async (...annotations: Annotations[]) => {
        const policies = annotations.map((each, i) =>
          policy(`${direction.toLowerCase()}-${i}`, selected, [direction], each),
        );
        await lab.apply({ put: policies });
        return policies;
      };
      for (const response of ['none', 'icmp', 'reset'] as const) {
        const policies = await put(respond(response));
        for (const client of clients) expectResponse(client, response, 'one policy');
        await lab.apply({ remove: policies });
        for (const client of clients) {
          for (const end of ['v4', 'v6'] as const) assert.equal(connect(client, end), 'connected');
        }
      }
      // The most informative response, whatever the order; without an annotation the agent's setting, which is none.
      const several = await put(respond('icmp'), respond('reset'), respond('none'), {});
      for (const client of clients) expectResponse(client, 'reset', 'several policies');
      await lab.apply({ remove: several.slice(1, 2) });
      for (const client of clients) expectResponse(client, 'icmp', 'without one of them');
      await lab.apply({ remove: several });
    });
  }

  test('the annotation of a namespace applies to policies without one', async () => {
    const put = [policy('deny', 'server', ['Ingress'], {})];
    await lab.apply({ put });
    expectResponse('far', 'none', 'without annotations');
    const namespace = namespaceObject('shop', {}) as { metadata: object };
    const annotated = {
      ...namespace,
      metadata: { ...namespace.metadata, annotations: respond('reset') },
    };
    await lab.apply({ put: [annotated as never] });
    expectResponse('far', 'reset', 'by the namespace');
    await lab.apply({ put: [policy('deny', 'server', ['Ingress'], respond('icmp'))] });
    expectResponse('far', 'icmp', 'by the policy');
    await lab.apply({ put: [namespaceObject('shop', {})], remove: put });
  });

  test('a policy in audit mode records what it would deny, and drops nothing', async () => {
    const node = lab.node(1);
    using client = await ControlClient.connect(lab.socketOf(node));
    const verdicts: VerdictEntry[] = [];
    const ended = client.follow<VerdictEntry>(
      (entry) => void verdicts.push(entry),
      'policy.verdicts',
    );
    ended.catch(() => {});
    const audit = { 'heddle.io/policy-mode': 'audit' };
    const guard = {
      ...{ apiVersion: 'policy.networking.k8s.io/v1alpha2', kind: 'ClusterNetworkPolicy' },
      metadata: { name: 'audited-guard', annotations: audit },
      spec: {
        ...{ tier: 'Admin', priority: 1, subject: { namespaces: {} } },
        egress: [
          {
            action: 'Deny',
            to: [
              { pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: 'server' } } } },
            ],
          },
        ],
      },
    } as never;
    const policies = [policy('audited', 'server', ['Ingress'], audit), guard];
    const counts = async () => {
      const { denied, wouldDeny } = (await lab.status(node)).policies!;
      return { denied: denied.byRules + denied.byDefault, ...wouldDeny };
    };
    const before = await counts();
    await lab.apply({ put: policies });
    // The rule is about what the near pod sends; by default the server denies what the far one does.
    for (const [from, direction] of [
      ['near', 'egress'],
      ['far', 'ingress'],
    ] as const) {
      for (const end of ['v4', 'v6'] as const) assert.equal(connect(from, end), 'connected');
      await lab.until(`the verdicts of ${from}`, async () => {
        const { addresses } = lab.hostOf(`shop/${from}`);
        const own = verdicts.filter(({ source }) => Object.values(addresses).includes(source));
        const recorded = own.filter(({ outcome }) => outcome === 'would-deny');
        return recorded.length === 2 && recorded.every((each) => each.direction === direction);
      });
    }
    const rule = verdicts.find(({ direction }) => direction === 'egress')!.egressRule!;
    assert.deepEqual(
      [rule.policy, rule.rule, rule.action],
      ['ClusterNetworkPolicy audited-guard', 0, 'deny'],
    );
    assert.ok(verdicts.every(({ outcome }) => outcome !== 'denied'));
    const after = await counts();
    assert.equal(after.denied, before.denied);
    assert.ok(after.byRules >= before.byRules + 2 && after.byDefault >= before.byDefault + 2);
    const metrics = askHttp(node, { address: '127.0.0.1', port: 10249 }, '/metrics');
    const audited =
      /^heddle_policy_audited_connections_total\{policy="(.*)",direction="(.*)"\} [1-9]/gm;
    assert.deepEqual(
      Array.from(metrics.matchAll(audited), ([, name, direction]) => [name, direction]),
      [
        ['', 'ingress'],
        ['ClusterNetworkPolicy audited-guard', 'egress'],
      ],
    );
    assert.doesNotMatch(metrics, /^heddle_policy_denied_connections_total.*audited/m);
    await lab.apply({ remove: policies });
  });

  test('a rule that denies has the response of its ClusterNetworkPolicy', async () => {
    const guard = (response: string) =>
      ({
        ...{ apiVersion: 'policy.networking.k8s.io/v1alpha2', kind: 'ClusterNetworkPolicy' },
        metadata: { name: 'guard', annotations: respond(response) },
        spec: {
          ...{ tier: 'Admin', priority: 1, subject: { namespaces: {} } },
          ingress: [
            {
              action: 'Deny',
              from: [
                { pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: 'far' } } } },
              ],
            },
          ],
        },
      }) as never;
    const isolation = policy('deny', 'server', ['Ingress'], respond('icmp'));
    for (const response of ['reset', 'none'] as const) {
      await lab.apply({ put: [guard(response), isolation] });
      expectResponse('far', response, 'by the rule');
      expectResponse('near', 'icmp', 'by default');
    }
    await lab.apply({ remove: [guard('none'), isolation] });
  });
});
