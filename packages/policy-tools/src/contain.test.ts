import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  inRanges,
  type NetworkPolicyRecord,
  type PeerRecord,
  type PortRecord,
  readLabels,
  type Selector,
} from '@heddle/objects';
import { matchesLabels, PolicyWorld } from '@heddle/policy';
import fc from 'fast-check';
import { peerContains, portContains, selectorContains } from './contain.ts';

const values = ['x', 'y', 'z'];
const requirement = fc.oneof(
  fc.record({
    key: fc.constantFrom('a', 'b'),
    operator: fc.constantFrom('In' as const, 'NotIn' as const),
    values: fc.subarray(values, { minLength: 1 }),
  }),
  fc.record({
    key: fc.constantFrom('a', 'b'),
    operator: fc.constantFrom('Exists' as const, 'DoesNotExist' as const),
    values: fc.constant<string[]>([]),
  }),
);
const selectors: fc.Arbitrary<Selector> = fc.array(requirement, { maxLength: 3 });
const labelSets = ['', ...values].flatMap((a) =>
  ['', ...values].map((b) => readLabels({ ...(a && { a }), ...(b && { b }) })),
);

test('a selector that contains another one matches all that the other one matches', () => {
  let contained = 0;
  fc.assert(
    fc.property(selectors, selectors, (outer, inner) => {
      if (!selectorContains(outer, inner)) return;
      contained++;
      for (const labels of labelSets) {
        if (matchesLabels(inner, labels)) assert.ok(matchesLabels(outer, labels));
      }
    }),
    { numRuns: 3000, seed: 13 },
  );
  assert.ok(contained > 300, `${contained}`);
});

const policy: NetworkPolicyRecord = {
  ...{ kind: 'networkPolicy', namespace: 'shop', name: 'p', pods: [] },
  ...{ ingress: [], egress: [], isAudited: false, problems: [] },
};
const ranges = ['10.0.0.0/29', '10.0.0.0/30', '10.0.0.4/30', '10.0.0.0/31', '10.0.0.3/32'];
const rangePeers = fc.record({
  type: fc.constant('range' as const),
  range: fc.constantFrom(...ranges),
  except: fc.subarray(ranges.slice(1), { maxLength: 2 }),
});

test('a range that contains another one has all of its addresses', () => {
  const has = ({ range, except }: Extract<PeerRecord, { type: 'range' }>, address: string) =>
    inRanges([range], address) && !inRanges(except, address);
  let contained = 0;
  fc.assert(
    fc.property(rangePeers, rangePeers, (outer, inner) => {
      const world = new PolicyWorld();
      if (!peerContains(world, { policy, peer: outer }, { policy, peer: inner })) return;
      contained++;
      for (let i = 0; i < 8; i++) {
        if (has(inner, `10.0.0.${i}`)) assert.ok(has(outer, `10.0.0.${i}`));
      }
    }),
    { numRuns: 2000, seed: 13 },
  );
  assert.ok(contained > 200, `${contained}`);
});

test('ports contain each other by protocol and number, and names only by themselves', () => {
  const tcp = (first: number, last = first): PortRecord => ({
    ...{ type: 'numbers', protocol: 'TCP', first, last },
  });
  const named: PortRecord = { type: 'name', protocol: 'TCP', name: 'http' };
  assert.equal(portContains(undefined, named), true);
  assert.equal(portContains(tcp(1, 100), tcp(80)), true);
  assert.equal(portContains(tcp(80), tcp(80, 81)), false);
  assert.equal(portContains(tcp(80), undefined), false);
  assert.equal(portContains(tcp(0, 65535), named), true);
  assert.equal(portContains(tcp(1, 65534), named), false);
  assert.equal(portContains(named, { type: 'name', protocol: 'UDP', name: 'http' }), false);
  assert.equal(portContains(named, tcp(80)), false);
});

test('peers of another namespace are contained only if its labels match', () => {
  const world = new PolicyWorld();
  const own: PeerRecord = { type: 'pods', namespaces: undefined, pods: [] };
  const team: PeerRecord = {
    ...{ type: 'pods', pods: [] },
    namespaces: [{ key: 'team', operator: 'In', values: ['a'] }],
  };
  const contains = () => peerContains(world, { policy, peer: team }, { policy, peer: own });
  assert.equal(contains(), false);
  const shop = { kind: 'namespace', namespace: '', name: 'shop', isAudited: false, problems: [] };
  const labels = (team: string) => readLabels({ team, 'kubernetes.io/metadata.name': 'shop' });
  world.apply([{ op: 'set', object: { ...shop, labels: labels('b') } as never }]);
  assert.equal(contains(), false);
  world.apply([{ op: 'set', object: { ...shop, labels: labels('a') } as never }]);
  assert.equal(contains(), true);
});
