import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RemoteNode } from '@heddle/routes';
import { masqueradeChoice } from './masquerade.ts';
import { modeOf, nodePage } from './node-list.ts';

const reason = 'the test wants it';
const near: RemoteNode = {
  ...{ key: 'n2', addresses: ['192.0.2.2', 'fd00::2'], further: ['fd00::22'], problems: [] },
  ranges: ['10.7.2.0/24', 'fd00:7:2::/64'],
  paths: [
    { family: 'IPv4', mode: 'direct', via: '192.0.2.2', reason },
    { family: 'IPv6', mode: 'tunnel', via: '192.0.2.2', reason },
  ],
};
const lost: RemoteNode = {
  ...{ key: 'n3', addresses: [], ranges: [], paths: [], problems: ['it has no range'] },
};

test('pods, configured ranges and nodes that are reached directly see the addresses of pods, and others never do', () => {
  const config = { masquerade: 'ipv4', nonMasqueradeCIDRs: ['198.51.100.0/24'] } as const;
  assert.deepEqual(masqueradeChoice(config, ['10.7.1.0/24'], [near, lost]), {
    ...{ ipv4: true, ipv6: false, always: ['fd00::2/128', 'fd00::22/128'] },
    exclusions: [
      ...['198.51.100.0/24', '10.7.1.0/24', '10.7.2.0/24', 'fd00:7:2::/64', '192.0.2.2/32'],
    ],
  });
});

test('the list of nodes has pages in the order of names, and the mode in one word', () => {
  assert.deepEqual([modeOf(near), modeOf(lost)], ['mixed', 'none']);
  const rows = Array.from({ length: 1200 }, (_, i) => ({ ...near, key: `n${1000 + i}` }));
  const view = { all: () => rows.toReversed(), status: () => undefined };
  const first = nodePage(view);
  assert.deepEqual([first.items.length, first.next], [1000, 'n1999']);
  const second = nodePage(view, first.next);
  assert.deepEqual(
    [second.items.length, second.items[0]?.name, second.next],
    [200, 'n2000', undefined],
  );
});
