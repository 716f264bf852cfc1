// The commands about network policies with an agent that enforces them: what they predict is compared with packets.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { DropEntry } from '@heddle/agent';
import { heddle, startHeddle } from '@heddle/cli/testing/heddle';
import { askTcp, type LabNode, type LabPod, startBackend } from '@heddle/lab';
import { NodeNetworkLab } from '../testing/node-network-lab.ts';
import { service, slice } from '../testing/objects.ts';

const denied = 'ingress[0] "no-spy" of ClusterNetworkPolicy guard';

describe('commands about network policies', () => {
  let network: NodeNetworkLab;
  let node: LabNode;
  /** The client may use port 8080 of the server; the spy may do nothing there. */
  let pods: Record<'client' | 'spy' | 'server', LabPod>;

  const podObject = (name: string, pod: LabPod) => ({
    ...{ apiVersion: 'v1', kind: 'Pod' },
    metadata: { name, namespace: 'shop', labels: { app: name } },
    spec: { nodeName: node.name, containers: [{ name: 'main' }] },
    status: {
      phase: 'Running',
      podIPs: [{ ip: pod.addresses.v4 }, { ip: pod.addresses.v6 }],
    },
  });

  before(async () => {
    network = new NodeNetworkLab('policy-commands', { nodes: 1, hasPods: false });
    network.add(
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } } as never,
      {
        ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
        metadata: { name: 'server', namespace: 'shop' },
        spec: {
          podSelector: { matchLabels: { app: 'server' } },
          ingress: [
            {
              from: [{ podSelector: { matchLabels: { app: 'client' } } }],
              ports: [{ protocol: 'TCP', port: 8080 }],
            },
            { from: [{ podSelector: { matchLabels: { app: 'nobody' } } }] },
          ],
        },
      } as never,
      {
        ...{ apiVersion: 'policy.networking.k8s.io/v1alpha2', kind: 'ClusterNetworkPolicy' },
        metadata: { name: 'guard' },
        spec: {
          ...{ tier: 'Admin', priority: 1, subject: { namespaces: {} } },
          ingress: [
            {
              ...{ name: 'no-spy', action: 'Deny' },
              from: [
                { pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: 'spy' } } } },
              ],
            },
          ],
        },
      } as never,
    );
    await network.start();
    node = network.node(1);
    const add = (name: string) => network.addPod(node, { namespace: 'shop', name });
    pods = { client: await add('client'), spy: await add('spy'), server: await add('server') };
    network.add(
      ...Object.entries(pods).map(([name, pod]) => podObject(name, pod) as never),
      service('server', ['10.96.9.50'], {
        ports: [{ port: 80, targetPort: 8080 }],
      }),
      slice('server', [pods.server.addresses.v4], { ports: [{ port: 8080 }] }),
    );
    await network.settled(node);
    await startBackend(pods.server, { echo: [8080, 8081] });
    await network.until('the service and the policies to be programmed', async () => {
      const { stdout } = await run('explain', ...ask('client', '10.96.9.50', 80), '-o', 'json');
      return stdout.includes('"allowed": true');
    });
  });
  after(() => network?.[Symbol.dispose]());

  const run = (...args: readonly string[]) =>
    heddle(['policy', ...args, '--socket', network.socketOf(node)]);
  const ask = (from: string, to: string, port: number) => [
    ...['--from', `shop/${from}`, '--to', to, '--port', `${port}`],
  ];
  const text = async (...args: readonly string[]) => {
    const { code, stdout, stderr } = await run(...args);
    assert.deepEqual([code, stderr], [0, ''], stdout);
    return stdout;
  };
  const connects = (from: 'client' | 'spy', port: number): boolean => {
    const address = pods.server.addresses.v4;
    try {
      return askTcp(pods[from], { address, port }, 'hello', 500) === 'hello';
    } catch {
      return false;
    }
  };
  const connections = [
    ['client', 8080, true],
    ['client', 8081, false],
    ['spy', 8080, false],
  ] as const;

  test('explain predicts which connections pods get', async () => {
    for (const [from, port, allowed] of connections) {
      const stdout = await text('explain', ...ask(from, 'shop/server', port), '-o', 'json');
      const { connections: all } = JSON.parse(stdout);
      assert.deepEqual(
        all.map((each: { allowed: boolean }) => each.allowed),
        [allowed, allowed],
      );
      assert.equal(connects(from, port), allowed, `${from} ${port}`);
    }
    const nearest = await text('explain', ...ask('client', '10.96.9.50', 80));
    assert.match(nearest, /of service default\/server, TCP\/8080/);
    assert.match(
      await text('explain', ...ask('client', 'shop/server', 8081)),
      /nearest: ingress\[0\] of NetworkPolicy shop\/server has this peer, but allows TCP\/8080/,
    );
  });

  test('list and get count the connections of each rule, and show unused ones', async () => {
    connects('client', 8080);
    connects('spy', 8080);
    const list = await text('list');
    assert.match(list, /^ClusterNetworkPolicy guard +Admin 1 +3 +1 +0 +[1-9]\d* +enforce +done$/m);
    assert.match(list, /^NetworkPolicy shop\/server +- +1 +2 +1 +[1-9]\d* +enforce +done$/m);
    assert.match(
      await text('list', '--unused'),
      /^NetworkPolicy shop\/server +ingress\[1\] +allow +\d+s?/m,
    );
    const get = await text('get', 'shop/server');
    assert.match(
      get,
      /^ingress\[0\] +- +allows TCP\/8080 from pods with app=client of namespace shop +[1-9]/m,
    );
    assert.match(get, /^ingress\[1\] .* unused$/m);
  });

  test('pod get shows the policies that select a pod', async () => {
    const { stdout } = await heddle([
      ...['pod', 'get', 'shop/server', '--socket', network.socketOf(node)],
    ]);
    assert.match(
      stdout,
      /^policy +ClusterNetworkPolicy guard\npolicy +NetworkPolicy shop\/server$/m,
    );
  });

  /** Runs a command that prints objects, and collects these. */
  function watch<Entry>(...command: readonly string[]) {
    const child = startHeddle([...command, '--socket', network.socketOf(node), '-o', 'json']);
    const seen: Entry[] = [];
    let rest = '';
    child.stdout!.on('data', (data) => {
      const lines = `${rest}${data}`.split('\n');
      rest = lines.pop()!;
      seen.push(...lines.map((line) => JSON.parse(line)));
    });
    return { child, seen };
  }

  test('verdicts has each connection with its rule, and the reason of a default deny', async () => {
    const { child, seen } = watch<{
      outcome: string;
      ingressRule?: { policy: string };
      why?: string[];
    }>('policy', 'verdicts');
    try {
      const found = () => ({
        allowed: seen.find(({ outcome }) => outcome === 'allowed'),
        byDefault: seen.find(({ outcome, why }) => outcome === 'denied' && why),
        byRule: seen.find(({ outcome, ingressRule }) => outcome === 'denied' && ingressRule),
      });
      await network.until('three verdicts', async () => {
        for (const [from, port] of connections) connects(from, port);
        return Object.values(found()).every(Boolean);
      });
      const { allowed, byDefault, byRule } = found();
      assert.equal(allowed!.ingressRule!.policy, 'NetworkPolicy shop/server');
      assert.equal(byRule!.ingressRule!.policy, 'ClusterNetworkPolicy guard');
      assert.match(byDefault!.why!.join('\n'), /NetworkPolicy shop\/server isolates shop\/server/);
    } finally {
      child.kill();
    }
  });

  test('drop watch and drop list name the rule that denies a packet, and why none allows it', async () => {
    const { child, seen } = watch<DropEntry & { why?: string[] }>('drop', 'watch');
    try {
      const found = () => ({
        byRule: seen.find(({ deniedBy }) => deniedBy),
        byDefault: seen.find(({ why }) => why),
      });
      await network.until('two drops', async () => {
        for (const [from, port] of connections) connects(from, port);
        return Object.values(found()).every(Boolean);
      });
      const { byRule, byDefault } = found();
      assert.equal(byRule!.policy!.direction, 'ingress');
      assert.deepEqual(byRule!.deniedBy, {
        ...{ policy: 'ClusterNetworkPolicy guard', rule: 0, name: 'no-spy', action: 'deny' },
      });
      assert.equal(byRule!.source, pods.spy.addresses.v4);
      assert.deepEqual(byDefault!.policy, { direction: 'ingress' });
      assert.equal(byDefault!.destinationPort, 8081);
      assert.match(byDefault!.why!.join('\n'), /NetworkPolicy shop\/server isolates shop\/server/);
    } finally {
      child.kill();
    }
    const list = await heddle(['drop', 'list', '--socket', network.socketOf(node)]);
    assert.match(list.stdout, /^packet +a rule of a network policy denies the connection +[1-9]/m);
    assert.match(list.stdout, /^ingress\[0\] "no-spy" of ClusterNetworkPolicy guard +[1-9]/m);
    const json = await heddle([
      ...['drop', 'list', '--socket', network.socketOf(node), '-o', 'json'],
    ]);
    const [rule] = JSON.parse(json.stdout).denied;
    assert.deepEqual(
      [rule.policy, rule.direction, rule.rule, rule.name],
      ['ClusterNetworkPolicy guard', 'ingress', 0, 'no-spy'],
    );
  });

  test('trace names the rule that drops, live and from a dump, which has the policies too', async () => {
    const places = ['--socket', network.socketOf(node), '--bpffs', node.bpffs];
    const trace = (from: string, port: number, ...more: string[]) =>
      heddle([
        ...['trace', '--from', pods[from as 'spy'].addresses.v4, '--to', pods.server.addresses.v4],
        ...['--port', `${port}`, '--at', 'pod', ...more],
      ]);
    const byRule = await trace('spy', 8080, ...places);
    assert.equal(byRule.code, 0, byRule.stderr);
    assert.ok(
      byRule.stdout.includes(`a rule of a network policy denies the connection: ${denied}`),
      byRule.stdout,
    );
    const byDefault = await trace('client', 8081, ...places);
    assert.match(byDefault.stdout, /verdict: dropped/);
    assert.match(byDefault.stdout, /NetworkPolicy shop\/server isolates shop\/server/);
    const allowed = await trace('client', 8080, ...places);
    assert.doesNotMatch(allowed.stdout, /verdict: dropped/);
    assert.match(allowed.stdout, /allowed by ingress\[0\] of NetworkPolicy shop\/server/);
    const file = `${network.socketOf(node)}.dump`;
    const dumped = await heddle(['dump', file, ...places]);
    assert.equal(dumped.code, 0, dumped.stderr);
    const later = await trace('spy', 8080, '--from-dump', file);
    assert.ok(later.stdout.includes(denied), later.stdout);
    for (const command of [
      ['list'],
      ['get', 'guard'],
      ['explain', ...ask('spy', 'shop/server', 8080)],
    ]) {
      const { code, stdout, stderr } = await heddle(['policy', ...command, '--from-dump', file]);
      assert.deepEqual([code, stderr], [0, '']);
      assert.match(stdout, /ClusterNetworkPolicy guard/);
    }
  });

  test('diff and suggest use the connections of the agent', async () => {
    const { connectTcp } = await import('@heddle/lab');
    using _ = connectTcp(pods.client, { address: pods.server.addresses.v4, port: 8080 });
    const suggested = await run(
      ...['suggest', '--from-flows', 'live', '-n', 'shop', '--direction', 'ingress'],
    );
    assert.equal(suggested.code, 0, suggested.stderr);
    assert.match(suggested.stderr, /no connection of shop\/client and shop\/spy was seen/);
    const yaml = suggested.stdout;
    assert.match(yaml, /app: client\n {6}ports:\n {8}- protocol: TCP\n {10}port: 8080\n/);
    const deny = 'packages/e2e/testing/policy/deny-server.yaml';
    const diff = await text('diff', '--apply', deny, '--flows', 'live');
    assert.match(diff, /^denied +pod shop\/client +pod shop\/server +TCP\/8080 +[1-9]/m);
  });
});
