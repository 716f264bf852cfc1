import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pod } from '../testing/objects.ts';
import { clusterNetworkPolicy, namespace, networkPolicy } from '../testing/policies.ts';
import { policyReader } from './kinds.ts';
import { labelValue, readLabels } from './labels.ts';
import type {
  ClusterNetworkPolicyRecord,
  NamespaceRecord,
  NetworkPolicyRecord,
} from './policy-records.ts';
import type { PodRecord } from './records.ts';

function recordOf<Record>(object: unknown): Record {
  const read = policyReader.read(object);
  assert.ok('record' in read, JSON.stringify(read));
  return read.record as Record;
}
const network = (more: object) => recordOf<NetworkPolicyRecord>(networkPolicy('web', { ...more }));
const cluster = (more: object) =>
  recordOf<ClusterNetworkPolicyRecord>(clusterNetworkPolicy('all', { ...more }));

test('labels are sorted by key, and objects with equal labels share them', () => {
  const labels = readLabels({ b: '2', a: '1' });
  assert.deepEqual(labels, ['a', '1', 'b', '2']);
  assert.equal(readLabels({ a: '1', b: '2' }), labels);
  assert.equal(labelValue(labels, 'b'), '2');
  assert.equal(labelValue(labels, '1'), undefined);
  assert.equal(labelValue(readLabels({ constructor: 'x' }), 'constructor'), 'x');
  assert.equal(readLabels(null), readLabels({}));
});

test('a Pod has its labels and the named ports of containers and sidecars', () => {
  const ports = [{ name: 'http', containerPort: 80 }, { containerPort: 81 }];
  const dns = { ports: [{ name: 'dns', containerPort: 53, protocol: 'UDP' }] };
  const object = pod('web', '10.0.0.1', {
    ports,
    initContainers: [{ ...dns, restartPolicy: 'Always' }, { ports }],
  });
  const made = (name: string) => ({
    ...object,
    metadata: { ...object.metadata, name, labels: { app: 'web' } },
  });
  const [first, second] = [recordOf<PodRecord>(made('a')), recordOf<PodRecord>(made('b'))];
  assert.deepEqual(first.labels, ['app', 'web']);
  assert.deepEqual(first.namedPorts, [
    { name: 'http', protocol: 'TCP', port: 80 },
    { name: 'dns', protocol: 'UDP', port: 53 },
  ]);
  assert.equal(first.labels, second.labels);
  assert.equal(first.namedPorts, second.namedPorts);
});

test('a Namespace has its labels, its name as a label, and the mode of its policies', () => {
  const read = (...args: Parameters<typeof namespace>) =>
    recordOf<NamespaceRecord>(namespace(...args));
  assert.deepEqual(read('shop', { team: 'a' }), {
    kind: 'namespace',
    namespace: '',
    name: 'shop',
    labels: ['kubernetes.io/metadata.name', 'shop', 'team', 'a'],
    isAudited: false,
    problems: [],
  });
  assert.equal(read('shop', {}, { 'heddle.io/policy-mode': 'audit' }).isAudited, true);
  const odd = read('shop', {}, { 'heddle.io/policy-mode': 'off' });
  assert.deepEqual(odd.problems, [
    'annotation heddle.io/policy-mode is "off": must be audit or enforce; policies are enforced',
  ]);
  assert.equal(odd.isAudited, false);
});

test('the annotation on the response to denied packets is read of policies and namespaces', () => {
  const read = (response: string) => {
    const annotations = { 'heddle.io/policy-deny-response': response };
    return [
      recordOf<NamespaceRecord>(namespace('shop', {}, annotations)),
      network({ annotations }),
      recordOf<ClusterNetworkPolicyRecord>(clusterNetworkPolicy('c', { annotations })),
    ].map(({ denyResponse, problems }) => [denyResponse, problems]);
  };
  for (const response of ['none', 'icmp', 'reset']) {
    for (const each of read(response)) assert.deepEqual(each, [response, []]);
  }
  const sentence =
    'annotation heddle.io/policy-deny-response is "drop": must be none, icmp or reset; ' +
    'policyDenyResponse of the agent applies';
  for (const each of read('drop')) assert.deepEqual(each, [undefined, [sentence]]);
});

test('a NetworkPolicy isolates by policyTypes, and without them by the sections that it has', () => {
  const directions = (more: object) => {
    const { ingress, egress } = network(more);
    return [ingress !== undefined, egress !== undefined];
  };
  assert.deepEqual(directions({}), [true, false]);
  assert.deepEqual(directions({ egress: [] }), [true, false]);
  assert.deepEqual(directions({ egress: [{}] }), [true, true]);
  assert.deepEqual(directions({ policyTypes: ['Egress'], ingress: [{}] }), [false, true]);
  assert.deepEqual(directions({ policyTypes: ['Ingress'], egress: [{}] }), [true, false]);
  assert.deepEqual(directions({ policyTypes: ['Ingress', 'Egress'] }), [true, true]);
  assert.deepEqual(directions({ policyTypes: ['Forward'] }), [true, true]);
});

test('a NetworkPolicy is read with selectors, ranges, named ports and ranges of ports', () => {
  const record = network({
    podSelector: { matchLabels: { app: 'web' } },
    ingress: [
      {
        from: [
          { podSelector: {} },
          {
            podSelector: { matchExpressions: [{ key: 'tier', operator: 'Exists' }] },
            namespaceSelector: {},
          },
          {
            namespaceSelector: { matchExpressions: [{ key: 't', operator: 'In', values: ['a'] }] },
          },
          { ipBlock: { cidr: '10.1.2.3/8', except: ['10.2.0.0/16'] } },
        ],
        ports: [{ port: 80 }, { port: 'dns', protocol: 'UDP' }, { port: 1, endPort: 9 }, {}],
      },
      {},
    ],
  });
  const t = { key: 't', operator: 'In', values: ['a'] };
  const tier = { key: 'tier', operator: 'Exists', values: [] };
  assert.deepEqual(record.pods, [{ key: 'app', operator: 'In', values: ['web'] }]);
  assert.deepEqual(record.ingress, [
    {
      name: '',
      action: 'allow',
      peers: [
        { type: 'pods', namespaces: undefined, pods: [] },
        { type: 'pods', namespaces: [], pods: [tier] },
        { type: 'pods', namespaces: [t], pods: [] },
        { type: 'range', range: '10.0.0.0/8', except: ['10.2.0.0/16'] },
      ],
      ports: [
        { type: 'numbers', protocol: 'TCP', first: 80, last: 80 },
        { type: 'name', protocol: 'UDP', name: 'dns' },
        { type: 'numbers', protocol: 'TCP', first: 1, last: 9 },
        { type: 'numbers', protocol: 'TCP', first: 0, last: 65535 },
      ],
    },
    { name: '', action: 'allow', peers: undefined, ports: undefined },
  ]);
  assert.deepEqual(record.problems, []);
});

test('an unusable part of a NetworkPolicy matches nothing and is a sentence', () => {
  const closed = (rule: object, problem: RegExp) => {
    const record = network({ ingress: [rule] });
    assert.equal(record.problems.length, 1);
    assert.match(record.problems[0]!, problem);
    return record.ingress![0]!;
  };
  const noPeer = (peer: object, problem: RegExp) =>
    assert.deepEqual(closed({ from: [peer] }, problem).peers, []);
  noPeer({ serviceSelector: {} }, /^spec\.ingress\[0\]\.from\[0\] is \{\}: must have podSelector/);
  noPeer({ ipBlock: { cidr: '10.0.0.0' } }, /ipBlock\.cidr is "10.0.0.0": must be a range/);
  noPeer({ ipBlock: { cidr: '10.0.0.0/8', except: ['x'] } }, /except\[0\] is "x"/);
  noPeer({ ipBlock: { cidr: '10.0.0.0/8' }, podSelector: {} }, /must be one of them/);
  const operator = { matchExpressions: [{ key: 'a', operator: 'Gt', values: ['1'] }] };
  noPeer({ podSelector: operator }, /podSelector\.matchExpressions\[0\]\.operator is "Gt"/);
  const empty = { matchExpressions: [{ key: 'a', operator: 'In' }] };
  noPeer({ namespaceSelector: empty }, /values is missing: must have a value for In/);
  const exists = { matchExpressions: [{ key: 'a', operator: 'Exists', values: ['b'] }] };
  noPeer({ podSelector: exists }, /must be empty for Exists/);
  const noPort = (port: object, problem: RegExp) =>
    assert.deepEqual(closed({ ports: [port] }, problem).ports, []);
  noPort({ protocol: 'ICMP' }, /protocol is "ICMP": must be TCP, UDP or SCTP; it matches no port/);
  noPort({ port: 0 }, /port is 0/);
  noPort({ port: 80, endPort: 79 }, /endPort is 79: must be at least 80/);
  noPort({ endPort: 79 }, /port is missing: must be given with/);
  noPort({ port: 'web', endPort: 79 }, /endPort is 79: must be absent/);
  const record = network({ podSelector: operator, ingress: [{}], policyTypes: ['Ingress'] });
  assert.deepEqual([record.pods, record.ingress], [[], []]);
  assert.match(record.problems[0]!, /all pods of the namespace are isolated/);
});

test('a ClusterNetworkPolicy is read with all types of peers and ports', () => {
  const selector = { matchLabels: { team: 'a' } };
  const team = [{ key: 'team', operator: 'In', values: ['a'] }];
  const record = cluster({
    tier: 'Admin',
    priority: 7,
    subject: { pods: { namespaceSelector: selector, podSelector: {} } },
    ingress: [{ name: 'in', action: 'Pass', from: [{ namespaces: selector }] }],
    egress: [
      {
        action: 'Accept',
        to: [
          { nodes: selector },
          { networks: ['10.0.0.0/8', 'FD00::/8'] },
          { domainNames: ['*.Example.com.'] },
        ],
        protocols: [
          { tcp: { destinationPort: { number: 443 } } },
          { udp: { destinationPort: { range: { start: 1, end: 9 } } } },
        ],
      },
      {
        action: 'Deny',
        to: [{ pods: { namespaceSelector: {}, podSelector: selector } }],
        protocols: [{ destinationNamedPort: 'web' }],
      },
    ],
  });
  assert.deepEqual(record, {
    kind: 'clusterNetworkPolicy',
    namespace: '',
    name: 'all',
    tier: 'Admin',
    priority: 7,
    subject: { namespaces: team, pods: [] },
    ingress: [
      {
        name: 'in',
        action: 'pass',
        peers: [{ type: 'pods', namespaces: team, pods: [] }],
        ports: undefined,
      },
    ],
    egress: [
      {
        name: '',
        action: 'allow',
        peers: [
          { type: 'nodes', nodes: team },
          { type: 'range', range: '10.0.0.0/8', except: [] },
          { type: 'range', range: 'fd00::/8', except: [] },
          { type: 'domain', name: '*.example.com' },
        ],
        ports: [
          { type: 'numbers', protocol: 'TCP', first: 443, last: 443 },
          { type: 'numbers', protocol: 'UDP', first: 1, last: 9 },
        ],
      },
      {
        name: '',
        action: 'deny',
        peers: [{ type: 'pods', namespaces: [], pods: team }],
        ports: [{ type: 'name', protocol: undefined, name: 'web' }],
      },
    ],
    isAudited: false,
    problems: [],
  });
});

test('a rule of a ClusterNetworkPolicy with an unusable part accepts nothing, or denies everything', () => {
  const web = [{ destinationNamedPort: 'web' }];
  const parts: readonly (readonly [object, RegExp])[] = [
    [{ to: [{ namespaces: {} }, { services: {} }] }, /to\[1\] is \{\}: must have exactly one/],
    [{ to: [{ namespaces: {}, nodes: {} }] }, /to\[0\] is .*: must have exactly one/],
    [{ to: [] }, /to is \[\]: must have a peer/],
    [{}, /to is missing: must have a peer/],
    [{ to: [{ networks: ['x/8'] }] }, /networks\[0\] is "x\/8"/],
    [{ to: [{ networks: [] }] }, /networks is \[\]/],
    [{ to: [{ domainNames: ['a*.example.com'] }] }, /domainNames/],
    [{ to: [{ namespaces: {} }], protocols: [{ icmp: {} }] }, /protocols\[0\] is \{\}/],
    [{ to: [{ namespaces: {} }], protocols: [{ tcp: {} }] }, /must have one port/],
    [{ to: [{ namespaces: {} }], protocols: [] }, /protocols is \[\]/],
    [{ to: [{ nodes: {} }], protocols: web }, /must not name ports/],
  ];
  for (const [part, problem] of parts) {
    for (const action of ['Accept', 'Deny', 'Pass']) {
      const { egress, problems } = cluster({ egress: [{ action, name: 'x', ...part }] });
      assert.equal(problems.length, 1, JSON.stringify(part));
      assert.match(problems[0]!, problem);
      const everything = { name: 'x', action: 'deny', peers: undefined, ports: undefined };
      const nothing = { name: 'x', action: 'allow', peers: [], ports: undefined };
      assert.deepEqual(egress, [action === 'Accept' ? nothing : everything]);
    }
  }
  const { egress } = cluster({ egress: [{ action: 'Log', to: [{ namespaces: {} }] }] });
  assert.deepEqual(egress, [{ name: '', action: 'deny', peers: undefined, ports: undefined }]);
  // Peers of ingress have fewer types.
  const { ingress } = cluster({ ingress: [{ action: 'Accept', from: [{ nodes: {} }] }] });
  assert.deepEqual(ingress[0]!.peers, []);
});

test('domain names are peers of rules with Accept of the tier Admin only', () => {
  const to = [{ domainNames: ['example.com'] }];
  const rule = (tier: string, action: string) => cluster({ tier, egress: [{ action, to }] });
  assert.deepEqual(rule('Admin', 'Accept').egress[0]!.peers, [
    { type: 'domain', name: 'example.com' },
  ]);
  assert.deepEqual(rule('Baseline', 'Accept').egress[0]!.peers, []);
  assert.match(rule('Baseline', 'Accept').problems[0]!, /must be in a rule with Accept/);
  assert.equal(rule('Admin', 'Deny').egress[0]!.peers, undefined);
});

test('a ClusterNetworkPolicy beyond a limit of the API is used as it is, with a sentence', () => {
  const some = <Item>(count: number, item: (i: number) => Item) =>
    Array.from({ length: count }, (_, i) => item(i));
  const read = (more: object) =>
    recordOf<ClusterNetworkPolicyRecord>(clusterNetworkPolicy('all', { ...more }));
  const rule = (more: object) => ({ action: 'Accept', to: [{ namespaces: {} }], ...more });
  const limits: readonly (readonly [string, (count: number) => object, number])[] = [
    ['spec.egress is 26 rules', (count) => ({ egress: some(count, () => rule({})) }), 25],
    [
      'spec.ingress is 26 rules',
      (count) => ({
        ingress: some(count, () => ({ action: 'Deny', from: [{ namespaces: {} }] })),
      }),
      25,
    ],
    [
      'spec.egress[0].to is 26 peers',
      (count) => ({ egress: [rule({ to: some(count, () => ({ namespaces: {} })) })] }),
      25,
    ],
    [
      'spec.egress[0].to[0].networks is 26 items',
      (count) => ({
        egress: [rule({ to: [{ networks: some(count, (i) => `10.${i}.0.0/16`) }] })],
      }),
      25,
    ],
    [
      'spec.egress[0].to[0].domainNames is 26 items',
      (count) => ({
        egress: [rule({ to: [{ domainNames: some(count, (i) => `host-${i}.example.com`) }] })],
      }),
      25,
    ],
    [
      'spec.egress[0].protocols is 26 items',
      (count) => ({
        egress: [
          rule({
            protocols: some(count, (i) => ({ tcp: { destinationPort: { number: i + 1 } } })),
          }),
        ],
      }),
      25,
    ],
    [
      'spec.egress[0].name is 101 characters',
      (count) => ({ egress: [rule({ name: 'x'.repeat(count) })] }),
      100,
    ],
  ];
  for (const [beginning, make, most] of limits) {
    assert.deepEqual(read(make(most)).problems, [], beginning);
    const { problems, ingress, egress } = read(make(most + 1));
    assert.deepEqual(problems, [
      `${beginning}: must have at most ${most}; the API server refuses more, and Heddle uses all`,
    ]);
    const [first] = [...ingress, ...egress];
    const sizes = [ingress.length, egress.length, first!.peers?.length, first!.ports?.length];
    assert.ok(beginning.includes('.name') || sizes.includes(most + 1), `${beginning}: ${sizes}`);
  }
});

test('a ClusterNetworkPolicy with an unusable subject keeps its denials, for all pods', () => {
  const record = cluster({
    subject: { serviceAccounts: {} },
    ingress: ['Accept', 'Deny', 'Pass'].map((action) => ({ action, from: [{ namespaces: {} }] })),
  });
  assert.deepEqual(record.subject, { namespaces: [], pods: [] });
  const all = [{ type: 'pods', namespaces: [], pods: [] }];
  assert.deepEqual(
    record.ingress.map(({ peers }) => peers),
    [[], all, []],
  );
  assert.match(record.problems[0]!, /^spec\.subject is \{\}: must have either namespaces or pods/);
});

test('a ClusterNetworkPolicy without a usable tier or priority is invalid', () => {
  const reason = (more: object) => {
    const read = policyReader.read(clusterNetworkPolicy('all', { ...more }));
    return read.kind === 'invalid' ? read.reason : '';
  };
  assert.match(reason({ tier: 'Top' }), /^ClusterNetworkPolicy all: spec\.tier is "Top"/);
  assert.match(reason({ priority: 1001 }), /spec\.priority is 1001/);
});
