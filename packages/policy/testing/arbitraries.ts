import { clusterNetworkPolicy, namespace, networkPolicy } from '@heddle/objects/testing/policies';
import fc from 'fast-check';
import { node, pod } from './objects.ts';

// Random objects from small sets of names, labels and addresses, so that they concern each other.

const namespaces = ['a', 'b', 'c'];
const nodes = ['n1', 'n2'];
const v4 = ['10.0.0.1', '10.0.0.2', '10.0.1.1', '10.0.1.2', '10.1.0.1', '192.0.2.1', '192.0.2.2'];
const v6 = ['fd00::1', 'fd00::2', 'fd00:1::1', 'fd00:1::2', 'fd01::1'];
/** All addresses that a connection may have. */
export const addresses = [...v4, ...v6, '198.51.100.1', '10.0.0.9', '2001:db8::1'];

const labelText = fc
  .tuple(fc.constantFrom('', 'app=1', 'app=2', 'app=3'), fc.constantFrom('', 'tier=x', 'tier=y'))
  .map((texts) => texts.filter(Boolean).join(','));
const labels = labelText.map((text) =>
  Object.fromEntries(
    text
      .split(',')
      .filter(Boolean)
      .map((pair) => pair.split('=')),
  ),
);

const expression = fc
  .record({
    key: fc.constantFrom('app', 'tier', 'kubernetes.io/metadata.name'),
    operator: fc.constantFrom('In', 'NotIn', 'Exists', 'DoesNotExist', 'Like'),
    values: fc.uniqueArray(fc.constantFrom('1', '2', 'x', 'a', 'b'), {
      minLength: 1,
      maxLength: 2,
    }),
  })
  .map((made) => (made.operator.includes('xist') ? { ...made, values: undefined } : made));
const selector = fc.oneof(
  fc.constant({}),
  labels.map((matchLabels) => ({ matchLabels })),
  fc.array(expression, { maxLength: 2 }).map((matchExpressions) => ({ matchExpressions })),
);

const range = fc.constantFrom(
  ...['0.0.0.0/0', '10.0.0.0/8', '10.0.0.0/16', '10.0.0.0/24', '10.0.0.1/32', '10.0.1.0/24'],
  ...['192.0.2.0/24', '10.0.0.9/32', '::/0', 'fd00::/16', 'fd00::/64', 'fd00::1/128'],
);
const portName = fc.constantFrom('web', 'dns');
const port = fc.oneof(
  fc.constantFrom({ port: 80 }, { port: 53, protocol: 'UDP' }, { protocol: 'SCTP' }, {}),
  fc.constantFrom({ port: 79, endPort: 81 }, { port: 53, endPort: 8080, protocol: 'UDP' }),
  fc.constantFrom({ port: 'web' }, { port: 'dns', protocol: 'UDP' }, { protocol: 'ICMP' }),
);
const networkPeer = fc.oneof(
  selector.map((podSelector) => ({ podSelector })),
  selector.map((namespaceSelector) => ({ namespaceSelector })),
  fc.record({ podSelector: selector, namespaceSelector: selector }),
  fc
    .record({ cidr: range, except: fc.array(range, { maxLength: 2 }) })
    .map((ipBlock) => ({ ipBlock })),
  fc.constant({ other: {} }),
);
const perhaps = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const annotations = fc.constantFrom(
  ...[undefined, undefined, undefined, { 'heddle.io/policy-mode': 'audit' }],
  { 'heddle.io/policy-deny-response': 'icmp' },
);

const policyName = fc.constantFrom('p1', 'p2', 'p3');
const networkRule = (list: string) =>
  fc.record(
    {
      [list]: fc.array(networkPeer, { maxLength: 2 }),
      ports: fc.array(port, { maxLength: 2 }),
    },
    { requiredKeys: [] },
  );
const networkPolicies = fc
  .record({
    name: policyName,
    namespace: fc.constantFrom(...namespaces),
    podSelector: selector,
    ingress: perhaps(fc.array(networkRule('from'), { maxLength: 2 })),
    egress: perhaps(fc.array(networkRule('to'), { maxLength: 2 })),
    policyTypes: fc.constantFrom(undefined, ['Ingress'], ['Egress'], ['Ingress', 'Egress']),
    annotations,
  })
  .map(({ name, ...more }) => networkPolicy(name, { ...more }));

const pods = fc.record({ namespaceSelector: selector, podSelector: selector });
const ingressPeer = fc.oneof(
  selector.map((made) => ({ namespaces: made })),
  pods.map((made) => ({ pods: made })),
);
const egressPeer = fc.oneof(
  ingressPeer,
  selector.map((made) => ({ nodes: made })),
  fc.uniqueArray(range, { minLength: 1, maxLength: 2 }).map((networks) => ({ networks })),
  fc.constantFrom({ domainNames: ['example.com', '*.example.org'] }, { other: {} }),
);
const clusterPort = fc.oneof(
  fc.constantFrom(
    { tcp: { destinationPort: { number: 80 } } },
    { udp: { destinationPort: { range: { start: 50, end: 60 } } } },
    { sctp: { destinationPort: { number: 80 } } },
  ),
  portName.map((destinationNamedPort) => ({ destinationNamedPort })),
);
const clusterRule = (list: string, peer: fc.Arbitrary<object>) =>
  fc.record(
    {
      action: fc.constantFrom('Accept', 'Deny', 'Pass'),
      [list]: fc.array(peer, { minLength: 1, maxLength: 2 }),
      protocols: fc.array(clusterPort, { minLength: 1, maxLength: 2 }),
    },
    { requiredKeys: ['action', list] },
  );
const clusterPolicies = fc
  .record({
    name: policyName,
    tier: fc.constantFrom('Admin', 'Baseline'),
    priority: fc.integer({ min: 0, max: 2 }),
    subject: ingressPeer,
    ingress: fc.array(clusterRule('from', ingressPeer), { maxLength: 2 }),
    egress: fc.array(clusterRule('to', egressPeer), { maxLength: 2 }),
    annotations,
  })
  .map(({ name, ...more }) => clusterNetworkPolicy(name, { ...more }));

const podObjects = fc
  .record({
    namespace: fc.constantFrom(...namespaces),
    name: fc.constantFrom('p1', 'p2', 'p3'),
    addresses: fc.oneof(
      fc.constantFrom(...v4),
      fc.constantFrom(...v6),
      fc.tuple(fc.constantFrom(...v4), fc.constantFrom(...v6)).map((pair) => pair.join()),
    ),
    labels: labelText,
    node: fc.constantFrom(...nodes),
    created: fc.constantFrom('2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z'),
    ports: fc.constantFrom(
      '',
      'web=80',
      'web=8080',
      'dns=53/UDP,web=80',
      'dns=53',
      'web=80,dns=80',
    ),
  })
  .map(({ namespace: place, name, addresses: texts, ...more }) =>
    pod(`${place}/${name}`, texts, more),
  );

const nodeObjects = fc
  .record({
    name: fc.constantFrom(...nodes),
    addresses: fc.constantFrom('192.0.2.1', '192.0.2.2', '192.0.2.1,fd01::1', '10.0.0.2'),
    labels: labelText,
  })
  .map(({ name, addresses: texts, labels: text }) => node(name, texts, text));

const namespaceObjects = fc
  .record({ name: fc.constantFrom(...namespaces), labels, annotations })
  .map((made) => namespace(made.name, made.labels, made.annotations));

const object = fc.oneof(
  { arbitrary: podObjects, weight: 5 },
  { arbitrary: networkPolicies, weight: 4 },
  { arbitrary: clusterPolicies, weight: 3 },
  { arbitrary: namespaceObjects, weight: 2 },
  { arbitrary: nodeObjects, weight: 1 },
);

/** An object that is set, removed, or has become unusable. */
export const edit = fc.record({
  op: fc.constantFrom('set', 'set', 'set', 'set', 'set', 'delete', 'delete', 'invalid'),
  object,
});

/** A connection between any two of the addresses. */
export const question = fc.record({
  from: fc.constantFrom(...addresses),
  to: fc.constantFrom(...addresses),
  service: fc.constantFrom(
    ...(['80/TCP', '8080/TCP', '53/UDP', '80/SCTP', '53/TCP', '7/TCP', '0/other'] as const),
  ),
  names: fc.constantFrom(undefined, ['example.com'], ['a.example.org'], ['example.org']),
});
