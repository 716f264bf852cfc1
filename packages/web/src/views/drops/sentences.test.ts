import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Explanation, RuleRef } from '../../contract.ts';
import { headingOf, knownReasons, sentenceOf } from './sentences.ts';

const rule = (more: Partial<RuleRef> = {}): RuleRef => ({
  policy: { kind: 'NetworkPolicy', namespace: 'payments', name: 'ledger-ingress' },
  rule: 2,
  direction: 'ingress',
  relation: 'nearest',
  ...more,
});

const kind = (more: Partial<Explanation>): Explanation => ({
  ...{ id: 'k', reason: 133, name: 'POLICY_DENIED', verdict: 'dropped', direction: 'ingress' },
  from: { namespace: 'shop', name: 'checkout', kind: 'Deployment' },
  to: { namespace: 'payments', name: 'ledger', kind: 'Deployment' },
  ...{ protocol: 6, port: 8443, now: 38, packets: 100, exact: true, since: 0, last: 0 },
  ...{ hours: [], nodes: ['rack1-a'], rules: [rule()], tests: [], others: 0, facts: {}, trace: '' },
  ...more,
});

const test1 = (what: 'peer' | 'port', ruleSays: string, here: string) => ({
  ...{ what, rule: ruleSays, here, fits: false },
});

/** For each template, a kind with the facts, and its sentence. */
const cases: readonly (readonly [string, Explanation, string, string])[] = [
  [
    'ingress, only the port fails',
    kind({ tests: [test1('port', 'TCP 8080', 'TCP 8443')] }),
    'No ingress rule lets this in',
    'payments/ledger accepts only what an ingress rule of payments/ledger-ingress names. shop/checkout asks for TCP 8443; the nearest rule, ingress rule 2, lets it in, but on TCP 8080 only.',
  ],
  [
    'ingress, only the peer fails, with others as near',
    kind({ others: 2, tests: [test1('peer', 'app=web', 'shop/checkout has app=checkout')] }),
    'No ingress rule lets this in',
    'payments/ledger accepts only what an ingress rule of payments/ledger-ingress names. shop/checkout asks for TCP 8443; the nearest rule, ingress rule 2 (and 2 others), has this port, but names app=web; shop/checkout has app=checkout.',
  ],
  [
    'ingress, peer and port fail',
    kind({ tests: [test1('peer', 'a', 'b'), test1('port', 'c', 'd')] }),
    'No ingress rule lets this in',
    'payments/ledger accepts only what an ingress rule of payments/ledger-ingress names. shop/checkout asks for TCP 8443; of the nearest rule, ingress rule 2, peer and port do not fit.',
  ],
  [
    'ingress, a policy that only isolates',
    kind({ rules: [rule({ relation: 'isolates' })] }),
    'No ingress rule lets this in',
    'payments/ledger accepts only what an ingress rule of payments/ledger-ingress names. shop/checkout asks for TCP 8443; no rule of it lets it in.',
  ],
  [
    'ingress, the nearest rule without its tests',
    kind({}),
    'No ingress rule lets this in',
    'payments/ledger accepts only what an ingress rule of payments/ledger-ingress names. shop/checkout asks for TCP 8443; the nearest rule is ingress rule 2, which does not fit.',
  ],
  [
    'ingress, no rule of the direction',
    kind({ tests: [{ what: 'direction', rule: 'egress', here: 'ingress', fits: false }] }),
    'No ingress rule lets this in',
    'payments/ledger accepts only what an ingress rule of payments/ledger-ingress names. shop/checkout asks for TCP 8443; no rule of it is for this direction.',
  ],
  [
    'no endpoint, without the selector',
    kind({ reason: 158, service: 'web/canary' }),
    'The service has no ready endpoint',
    'Service web/canary has no endpoint that is ready for TCP 8443.',
  ],
  [
    'egress of DNS',
    kind({
      ...{ direction: 'egress', port: 53, protocol: 17, rules: [rule({ direction: 'egress' })] },
      to: { namespace: 'kube-system', name: 'dns', kind: 'Deployment' },
      tests: [test1('port', 'TCP 443', 'UDP 53')],
    }),
    'No egress rule lets this out',
    'shop/checkout may send only what an egress rule of payments/ledger-ingress names. It asks kube-system/dns for UDP 53; the nearest rule, egress rule 2, lets it out, but on TCP 443 only. Without port 53 to kube-system/dns no name can be looked up.',
  ],
  [
    'deny rule of the Admin tier',
    kind({
      reason: 181,
      rules: [
        rule({
          relation: 'denied',
          policy: { kind: 'ClusterNetworkPolicy', namespace: '', name: 'guard' },
        }),
      ],
      facts: { ruleName: 'only-owners', tier: 'Admin' },
    }),
    'A rule says deny',
    'ingress rule 2 “only-owners” of guard denies shop/checkout to payments/ledger, TCP 8443. It is of the Admin tier, so no NetworkPolicy can overrule it.',
  ],
  [
    'no endpoint, no pod',
    kind({ reason: 158, service: 'web/canary', facts: { selector: ['app=canary'], pods: 0 } }),
    'The service has no ready endpoint',
    'Service web/canary selects app=canary. No pod has that.',
  ],
  [
    'no endpoint, none ready',
    kind({ reason: 158, service: 'web/canary', facts: { selector: ['app=canary'], pods: 3 } }),
    'The service has no ready endpoint',
    'Service web/canary selects app=canary. 3 pods have that, and none of them is ready.',
  ],
  [
    'source range',
    kind({
      reason: 177,
      service: 'web/admin',
      facts: { ranges: ['10.0.0.0/8'], client: '203.0.113.7' },
    }),
    'loadBalancerSourceRanges does not have the client',
    'Service web/admin lets in 10.0.0.0/8; the client is 203.0.113.7.',
  ],
  [
    'unknown port',
    kind({ reason: 151, service: 'web/admin', facts: { ports: ['80', '443'] } }),
    'The service has no such port',
    'Service web/admin has 80, 443; shop/checkout asks for TCP 8443.',
  ],
  [
    'not local',
    kind({ reason: 152, service: 'web/admin', facts: { endpointNodes: ['rack2-b'] } }),
    'No endpoint on this node',
    'externalTrafficPolicy of web/admin is Local. Its endpoints are on rack2-b; the packet came to rack1-a.',
  ],
  [
    'table full',
    kind({ reason: 155, facts: { used: 65536, size: 65536 } }),
    'No room for new connections',
    'The flow table of rack1-a is full (65\u202f536 of 65\u202f536 entries), so no new connection has an entry. The setting sizes.flows makes it larger.',
  ],
  [
    'unanswered',
    kind({ reason: 138 }),
    'Too many connections without an answer',
    'shop/checkout opened more connections to payments/ledger than may stay without an answer on rack1-a. Look for a scan, a SYN flood, or a server that does not answer.',
  ],
  [
    'ports',
    kind({ reason: 167, facts: { address: '192.0.2.1' } }),
    'No port for a new connection',
    'All SNAT ports of 192.0.2.1 towards payments/ledger, TCP 8443, are in use on rack1-a. The setting nat.ports gives it more.',
  ],
  [
    'no flow',
    kind({ reason: 163, facts: { timeout: 21_600 } }),
    'TCP segment of no known connection',
    'It is neither the first segment of a connection nor one of a connection that is known here: after a restart, a time-out of 6 h, or on another way back.',
  ],
  [
    'TTL',
    kind({ reason: 196 }),
    'The TTL of the packet ran out',
    'A packet from shop/checkout to payments/ledger passed more routers than its TTL allows. Look for a routing loop; traceroute causes it on purpose.',
  ],
  [
    'too large',
    kind({ reason: 136, facts: { mtu: 1450 } }),
    'The packet is too large',
    'A packet from shop/checkout is larger than the MTU of 1\u202f450 and must not be fragmented. The sender gets an ICMP error, unless a firewall drops it.',
  ],
  [
    'no route',
    kind({ reason: 169 }),
    'No route leads there',
    'rack1-a has no route or no neighbour for payments/ledger. Look at ip route get on the node.',
  ],
  [
    'fragment',
    kind({ reason: 157 }),
    'The fragment has no first part',
    'A fragment from shop/checkout came without the first fragment of its packet, which has the ports. Look for a path with a smaller MTU, or for fragments that go by way of another node.',
  ],
  [
    'malformed',
    kind({ reason: 134 }),
    'The packet is malformed',
    'A header of the packet from shop/checkout is cut off or has values that cannot be right. Look at the network interface or the tunnel before rack1-a.',
  ],
  [
    'source address',
    kind({ reason: 132 }),
    'The source address is not the pod’s',
    'A packet of shop/checkout has a source address that its pod does not have. Look for a tunnel, a bridge or a second network in the pod.',
  ],
  [
    'limit',
    kind({ reason: 198, facts: { limit: 100 } }),
    'More packets than the limit',
    'rack1-a answers at most 100 of such packets a second.',
  ],
  [
    'unknown reason',
    kind({ reason: 250, name: 'NEW_REASON' }),
    'Dropped for a reason that this page does not know',
    'The relay calls it NEW_REASON (250).',
  ],
];

for (const [title, given, heading, sentence] of cases) {
  test(`a drop has its heading and sentence: ${title}`, () => {
    assert.equal(headingOf(given), heading);
    assert.equal(
      sentenceOf(given)
        .map(({ text }) => text)
        .join(''),
      sentence,
    );
  });
}

test('each reason with a template has a case here', () => {
  const tested = new Set(cases.map(([, { reason }]) => reason));
  assert.deepEqual(
    knownReasons.filter((reason) => !tested.has(reason)),
    [],
  );
});

test('each reason has a whole sentence also without facts and rules', () => {
  for (const reason of [...knownReasons, 250]) {
    const bare = kind({ reason, rules: [], nodes: [] });
    const text = sentenceOf(bare)
      .map((piece) => piece.text)
      .join('');
    assert.match(text, /^\S.*\.$/s);
    assert.doesNotMatch(text, /undefined|NaN| {2}/);
  }
});

test('names are strong', () => {
  const strong = sentenceOf(kind({ tests: [test1('port', 'TCP 8080', 'TCP 8443')] }))
    .filter(({ isStrong }) => isStrong)
    .map(({ text }) => text);
  assert.deepEqual(strong, [
    'payments/ledger',
    'payments/ledger-ingress',
    'shop/checkout',
    'ingress rule 2',
  ]);
});
