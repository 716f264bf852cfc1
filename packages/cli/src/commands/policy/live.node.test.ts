// The commands about policies with an agent that answers as the real one does.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
  type BackendEntry,
  ControlServer,
  type DropEntry,
  type PolicyEntry,
  type PolicyRuleEntry,
  type ServiceEntry,
  type VerdictEntry,
} from '@heddle/agent';
import { policyReader } from '@heddle/objects';
import { nodePlatform } from '@heddle/sys/node';
import { parseAllDocuments } from 'yaml';
import { heddle, root, startHeddle } from '../../../testing/heddle.ts';

const since = new Date(Date.now() - 30 * 86_400_000).toISOString();
const entry = (policy: string, more: Partial<PolicyEntry> = {}): PolicyEntry => ({
  ...{ policy, tier: 'NetworkPolicy', priority: 0, audited: false, rules: 1, pods: 1 },
  ...{ connections: 7, problems: [], status: 'done', since, ...more },
});
const policies = [
  entry('ClusterNetworkPolicy keep-out-of-lab', {
    ...{ tier: 'Baseline', priority: 100, connections: 0 },
  }),
  entry('NetworkPolicy shop/api', { rules: 4, connections: 1207 }),
  entry('NetworkPolicy shop/db', {
    ...{ audited: true, status: 'failed', reason: 'write map policy_rules: full' },
  }),
];
const rule = (
  policy: string,
  direction: 'ingress' | 'egress',
  position: number,
  number: number,
  connections: number,
): PolicyRuleEntry => ({
  ...{ policy, direction, number, rule: position, connections },
  ...{ tier: 'NetworkPolicy', action: 'allow', anyPeer: false },
});
const rules = [
  rule('NetworkPolicy shop/api', 'ingress', 0, 1024, 1200),
  // Two numbers of one named port.
  rule('NetworkPolicy shop/api', 'ingress', 0, 1025, 7),
  rule('NetworkPolicy shop/api', 'egress', 0, 1026, 0),
  rule('NetworkPolicy shop/api', 'egress', 1, 1027, 0),
  rule('NetworkPolicy shop/db', 'ingress', 0, 1088, 7),
  {
    ...rule('ClusterNetworkPolicy keep-out-of-lab', 'ingress', 0, 3584, 0),
    ...({ tier: 'Baseline', name: 'other-teams', action: 'deny' } as const),
  },
];
const service: ServiceEntry = {
  ...{ key: 'shop/db:sql/TCP/IPv4', namespace: 'shop', name: 'db', port: 'sql', protocol: 'TCP' },
  ...{ family: 'IPv4', backends: { active: 1, draining: 0 }, algorithm: 'random' },
  frontends: [
    { kind: 'ClusterIP', address: '10.96.0.20', port: 5432 },
    { kind: 'NodePort', address: '192.0.2.1', port: 30432 },
  ],
  ...{ forwarding: 'snat', affinitySeconds: 0, problems: [], status: 'done', since },
};
const backend: BackendEntry = {
  ...{ service: service.key, address: '10.7.2.13', port: 5432, state: 'active', weight: 1 },
};
const world = ['objects.yaml', 'policies.yaml'].flatMap((name) =>
  parseAllDocuments(readFileSync(join(root, 'examples/policy', name), 'utf8')).flatMap(
    (document) => {
      const read = policyReader.read(document.toJS());
      return read.kind === 'record' ? [read.record] : [];
    },
  ),
);
const verdicts: VerdictEntry[] = [
  {
    ...{ outcome: 'allowed', protocol: 'TCP', source: '10.7.1.12', sourcePort: 40000 },
    ...{ destination: '10.7.2.13', destinationPort: 5432, sourcePod: 'shop/api-1' },
    ingressRule: { policy: 'NetworkPolicy shop/db', rule: 0, action: 'allow' },
    egressRule: { policy: 'NetworkPolicy shop/api', rule: 0, action: 'allow' },
  },
  {
    ...{ outcome: 'denied', direction: 'ingress', protocol: 'TCP', source: '10.7.1.11' },
    ...{ sourcePort: 40001, destination: '10.7.2.13', destinationPort: 5432 },
    destinationPod: 'shop/db-0',
  },
];

const drops: DropEntry[] = [
  {
    ...{ reason: 'a rule of a network policy denies the connection', ifindex: 7, length: 74 },
    ...{ protocol: 'TCP', source: '10.7.1.11', sourcePort: 40001, pod: 'shop/db-0' },
    ...{ destination: '10.7.2.13', destinationPort: 5432 },
    policy: { direction: 'ingress', rule: 3584 },
    deniedBy: {
      ...{ policy: 'ClusterNetworkPolicy keep-out-of-lab', rule: 0, name: 'other-teams' },
      action: 'deny',
    },
  },
  {
    ...{ reason: 'no rule allows the connection', ifindex: 7, length: 74, protocol: 'TCP' },
    ...{ source: '10.7.1.11', sourcePort: 40001, destination: '10.7.2.13', destinationPort: 5432 },
    policy: { direction: 'ingress', rule: undefined },
  },
];

describe('heddle policy with an agent', () => {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-policy-live-'));
  const path = join(folder, 'control.sock');
  let server: ControlServer;
  const lists: Record<string, readonly unknown[]> = {
    'policy.list': policies,
    'policy.rules': rules,
    'service.list': [service],
    'backend.list': [backend],
  };

  before(() => {
    server = new ControlServer(nodePlatform(), path, ({ method, params }, follow) => {
      if (method === 'policy.world') {
        // In pages, as the agent sends them.
        const at = Number(params?.after ?? 0);
        const items = world.slice(at, at + 4);
        return at + 4 < world.length ? { items, next: `${at + 4}` } : { items };
      }
      if (method === 'status') {
        const reason = 'a rule of a network policy denies the connection';
        return { drops: [{ reason, count: 1300 }], refusals: [] };
      }
      if (method === 'drops.follow') {
        for (const each of drops) follow(each);
        return { following: true };
      }
      if (method === 'policy.verdicts') {
        for (const each of verdicts) follow(each);
        return { following: true };
      }
      const items = lists[method];
      assert.ok(items, method);
      return { items };
    });
  });
  after(() => {
    server[Symbol.dispose]();
    rmSync(folder, { recursive: true });
  });

  const table = async (...args: string[]) => {
    const { code, stdout, stderr } = await heddle(['policy', ...args, '--socket', path]);
    assert.deepEqual([code, stderr], [0, ''], stdout);
    return stdout;
  };

  it('policy list shows unused rules, the mode and the reason of a failure', async () => {
    assert.equal(
      await table('list'),
      `POLICY                                TIER          PODS  RULES  UNUSED  CONNECTIONS  MODE     STATE
ClusterNetworkPolicy keep-out-of-lab  Baseline 100  1     1      1       0            enforce  done
NetworkPolicy shop/api                -             1     4      2       1,207        enforce  done
NetworkPolicy shop/db                 -             1     1      0       7            audit    failed: write map policy_rules: full
`,
    );
    assert.match(await table('list', '-n', 'lab'), /^no policies in namespace lab\n$/);
  });

  it('policy list --unused shows rules without a connection, and since when', async () => {
    assert.equal(
      await table('list', '--unused'),
      `POLICY                                RULE                      ACTION  UNUSED FOR
NetworkPolicy shop/api                egress[0]                 allow   30d
NetworkPolicy shop/api                egress[1]                 allow   30d
ClusterNetworkPolicy keep-out-of-lab  ingress[0] "other-teams"  deny    30d
`,
    );
    const { rules: unused } = JSON.parse(await table('list', '--unused', '-o', 'json'));
    assert.deepEqual(unused[0].numbers, [1026]);
    assert.equal(unused[0].since, since);
  });

  it('policy get shows the rules as they are written, with their connections', async () => {
    const text = await table('get', 'shop/api');
    assert.match(text, /^policy +NetworkPolicy shop\/api\n/);
    assert.match(text, /^pods +1 pod of this node: shop\/api-1$/m);
    assert.match(
      text,
      /^ingress\[0\] +- +allows TCP\/grpc from pods with app=front of namespace shop +1,207$/m,
    );
    assert.match(
      text,
      /^egress\[0\] +- +allows TCP\/5432 to pods with app=db of namespace shop +unused$/m,
    );
    const missing = await heddle(['policy', 'get', 'shop/none', '--socket', path]);
    assert.equal(missing.code, 1);
    assert.match(
      missing.stderr,
      /^heddle: find policy shop\/none: none of that name selects a pod of this node/,
    );
  });

  it('policy explain and matrix use the objects of the agent, and its services', async () => {
    const args = ['explain', '--from', 'shop/front-1', '--port'];
    for (const to of ['service/shop/db', '10.96.0.20']) {
      assert.match(
        await table(...args, '5432', '--to', to),
        /> pod shop\/db-0 \(10\.7\.2\.13\) of service shop\/db, TCP\/5432/,
      );
    }
    assert.match(
      await table(...args, '30432', '--to', '192.0.2.1'),
      /of service shop\/db, TCP\/5432/,
    );
    assert.match(
      await table('matrix', '--port', '5432', '-n', 'shop'),
      /^1 +shop\/api-1 +\. +yes +no$/m,
    );
  });

  it('policy check --live finds what the objects of the agent shadow', async () => {
    const text = await table('check', 'examples/policy-change/isolate.yaml', '--live');
    assert.match(text, /^ {2}selects {4}1 pod: shop\/api-1$/m);
    const tenants = await table('tenants', '--label', 'team');
    assert.match(tenants, /name: tenant-team-b$/m);
  });

  it('drop watch shows the rule that denies a packet, or why none allows it', async () => {
    const child = startHeddle(['drop', 'watch', '--socket', path]);
    let text = '';
    try {
      for await (const data of child.stdout!) {
        text += data;
        if (/nearest.*\n/.test(text)) break;
      }
    } finally {
      child.kill();
    }
    assert.match(
      text,
      /: ingress\[0\] "other-teams" of ClusterNetworkPolicy keep-out-of-lab {2}at/,
    );
    assert.match(
      text,
      /^ {5}NetworkPolicy shop\/db isolates shop\/db-0, and no rule of it allows/m,
    );
  });

  it('drop list counts the connections of each rule that denies', async () => {
    // The instances of a rule with a named port are one, and an audited rule denies nothing.
    const denying = (policy: string, number: number, connections: number) => ({
      ...rule(policy, 'ingress', 0, number, connections),
      ...({ name: 'other-teams', action: 'deny' } as const),
    });
    const cluster = 'ClusterNetworkPolicy keep-out-of-lab';
    lists['policy.rules'] = [
      ...[denying(cluster, 3584, 1200), denying(cluster, 3585, 4)],
      denying('NetworkPolicy shop/db', 1088, 9),
    ];
    const { stdout } = await heddle(['drop', 'list', '--socket', path]);
    assert.match(
      stdout,
      /^ingress\[0\] "other-teams" of ClusterNetworkPolicy keep-out-of-lab +1,204$/m,
    );
    assert.doesNotMatch(stdout, /shop\/db/);
    const json = await heddle(['drop', 'list', '--socket', path, '-o', 'json']);
    assert.deepEqual(
      JSON.parse(json.stdout).denied.map((each: { rule: number; connections: number }) => [
        each.rule,
        each.connections,
      ]),
      [[0, 1204]],
    );
    lists['policy.rules'] = rules;
  });

  it('policy verdicts explains what is denied by default', async () => {
    const follow = async (...args: string[]) => {
      const child = startHeddle(['policy', 'verdicts', '--socket', path, ...args]);
      let text = '';
      const expected = args.includes('--denied')
        ? /nearest.*\n/
        : /by default\n(.*\n)+.*nearest.*\n/;
      try {
        for await (const data of child.stdout!) {
          text += data;
          if (args.includes('json') ? text.split('\n').length > 2 : expected.test(text)) break;
        }
      } finally {
        child.kill();
      }
      return text;
    };
    const text = await follow();
    assert.match(
      text,
      /^allowed {5}TCP {2}shop\/api-1 10\.7\.1\.12:40000 > 10\.7\.2\.13:5432 {2}egress\[0\] of NetworkPolicy shop\/api, ingress\[0\] of NetworkPolicy shop\/db$/m,
    );
    assert.match(
      text,
      /^denied {6}TCP {2}10\.7\.1\.11:40001 > shop\/db-0 10\.7\.2\.13:5432 {2}ingress: by default$/m,
    );
    assert.match(
      text,
      /^ {12}NetworkPolicy shop\/db isolates shop\/db-0, and no rule of it allows this$/m,
    );
    const denied = await follow('--denied');
    assert.doesNotMatch(denied, /^allowed/m);
    const [, second] = (await follow('-o', 'json'))
      .split('\n')
      .map((line) => line && JSON.parse(line));
    assert.equal(second.outcome, 'denied');
    assert.match(second.why[0], /isolates shop\/db-0/);
  });
});
