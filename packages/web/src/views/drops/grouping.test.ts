import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DropKind } from '../../contract.ts';
import { csvOfKinds } from './export.ts';
import { beganText, detailOf, groupKinds, hourBars, readGrouping, serverOf } from './grouping.ts';

const kind = (id: string, more: Partial<DropKind> = {}): DropKind => ({
  ...{ id, reason: 133, name: 'POLICY_DENIED', verdict: 'dropped', direction: 'ingress' },
  from: { namespace: 'shop', name: 'checkout', kind: 'Deployment' },
  to: { namespace: 'payments', name: 'ledger', kind: 'Deployment' },
  ...{ protocol: 6, port: 8443, now: 0, packets: 1, exact: true, since: 0, last: 0 },
  ...{ hours: [], nodes: ['n1'], rules: [] },
  ...more,
});
const policy = { kind: 'NetworkPolicy', namespace: 'payments', name: 'ledger-ingress' };
const rules = [{ policy, rule: 2, direction: 'ingress', relation: 'nearest' }] as const;

test('kinds that happen now come first in their group, and groups of reasons have a fixed order', () => {
  const kinds = [
    kind('a', { reason: 163, packets: 99 }),
    kind('b', { packets: 5 }),
    kind('c', { packets: 2, now: 1 }),
    kind('d', { reason: 158 }),
  ];
  assert.deepEqual(
    groupKinds(kinds, 'reason').map(({ title, packets, kinds: of }) => [
      ...[title, packets, of.map(({ id }) => id).join('')],
    ]),
    [
      ['Policy', 7, 'cb'],
      ['Services', 1, 'd'],
      ['Packets', 99, 'a'],
    ],
  );
});

test('kinds are grouped by policy or by victim', () => {
  const kinds = [kind('a', { rules }), kind('b'), kind('c', { rules: [...rules, ...rules] })];
  const titles = (by: 'policy' | 'victim') => groupKinds(kinds, by).map(({ title }) => title);
  assert.deepEqual(titles('policy'), ['payments/ledger-ingress', 'No policy']);
  assert.deepEqual(titles('victim'), ['shop/checkout']);
  assert.equal(readGrouping('victim'), 'victim');
  assert.equal(readGrouping('nonsense'), 'reason');
});

test('the detail has the rule or the service, and the time', () => {
  const now = new Date(2026, 10, 30, 14, 10).getTime();
  const since = new Date(2026, 10, 30, 13, 2).getTime();
  assert.equal(
    detailOf(kind('a', { rules, now: 38, since }), now),
    'payments/ledger-ingress, ingress rule 2 · since 13:02',
  );
  assert.equal(
    detailOf(kind('a', { service: 'web/canary', last: now - 40_000 }), now),
    'Service web/canary · last 40 s ago',
  );
  assert.equal(detailOf(kind('a', { last: since }), now), 'no rule involved · last 13:02');
  assert.equal(serverOf(kind('a')), 'payments/ledger:8443');
  assert.equal(serverOf(kind('a', { port: 0, protocol: 1 })), 'payments/ledger, ICMP');
});

test('an hour with one packet has a bar that can be seen', () => {
  assert.equal(hourBars([0, 1, 1000]), 'M3.5 23v-2.0h2.5v2.0zM7.0 23v-21.0h2.5v21.0z');
});

test('kinds are exported with safe cells', () => {
  const lines = csvOfKinds([
    kind('a', { rules, from: { namespace: '', name: '=cmd()', kind: 'Outside' } }),
  ]).split('\r\n');
  assert.match(lines[1]!, /,'=cmd\(\),payments\/ledger,TCP,8443,/);
  assert.equal(lines[0]!.split(',').length, lines[1]!.split(',').length);
});

test('the beginning has the event before it, and its date if that is not today', () => {
  const since = new Date(2026, 10, 30, 13, 2, 11).getTime();
  const event = {
    ...{ id: 'e', at: since - 6000, lane: 'rollout' as const, subject: 'shop/checkout' },
    text: 'Rollout of shop/checkout, revision 41',
  };
  const rest = { tests: [], others: 0, facts: {}, trace: '' };
  const told = { ...kind('a', { since }), ...rest, change: { event, seconds: 6 } };
  const hour = 3600_000;
  assert.equal(
    beganText(told, since + hour),
    '13:02:11, 6 s after: Rollout of shop/checkout, revision 41',
  );
  const alone = { ...kind('a', { since }), ...rest };
  assert.equal(beganText(alone, since + 24 * hour), '30 Nov, 13:02:11; no event near it');
});
