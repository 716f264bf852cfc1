import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { foreignRules, iptablesLeftovers } from '../../testing/kube-proxy-rules.ts';
import { planRemoval, restoreInput } from './iptables.ts';

const builtIn = (table: string, ...chains: string[]) =>
  `*${table}\n${chains.map((chain) => `:${chain} ACCEPT [0:0]\n`).join('')}`;

test('every chain of kube-proxy is removed with the jumps to it', () => {
  const plans = planRemoval(
    iptablesLeftovers('iptables')
      .replace('*nat\n', builtIn('nat', 'PREROUTING', 'OUTPUT', 'POSTROUTING'))
      .replace('*filter\n', builtIn('filter', 'INPUT', 'FORWARD', 'OUTPUT')),
  );
  assert.deepEqual(
    plans.map(({ table, chains, jumps, kept }) => [
      table,
      chains.length,
      jumps.length,
      kept.length,
    ]),
    [
      ['mangle', 1, 0, 0],
      ['filter', 6, 7, 0],
      ['nat', 8, 3, 0],
    ],
  );
  const input = restoreInput(plans);
  const nat = input.slice(input.indexOf('*nat')).split('\n');
  assert.equal(nat[1], ':KUBE-EXT-ABCDEFGHIJKLMN22 - [0:0]', 'chains are emptied first');
  assert.equal(
    nat[9],
    '-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
  );
  assert.equal(nat.at(-3), '-X KUBE-SVC-ABCDEFGHIJKLMN22');
  assert.equal(nat.at(-2), 'COMMIT');
});

test('nothing of other programs is removed', () => {
  const saved = foreignRules('iptables')
    .replace('*nat\n', builtIn('nat', 'PREROUTING'))
    .replace('*filter\n', builtIn('filter', 'INPUT', 'FORWARD', 'OUTPUT'));
  assert.deepEqual(planRemoval(saved), []);
  assert.equal(restoreInput([]), '');
});

describe('a chain that other rules use is kept with the chains that it jumps to', () => {
  const table = (...rules: string[]) =>
    `${builtIn('nat', 'OUTPUT')}:KUBE-MARK-MASQ - [0:0]\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-ABCDEFGHIJKLMN22 - [0:0]\n:CNI-SETMARK - [0:0]\n${rules.join('\n')}\nCOMMIT\n`;

  test('used by another program’s chain', () => {
    const usedBy = '-A CNI-SETMARK -m comment --comment "CNI portmap" -j KUBE-MARK-MASQ';
    const [plan] = planRemoval(table('-A OUTPUT -j KUBE-SERVICES', usedBy));
    assert.deepEqual(plan, {
      table: 'nat',
      chains: ['KUBE-SERVICES', 'KUBE-SVC-ABCDEFGHIJKLMN22'],
      jumps: ['-A OUTPUT -j KUBE-SERVICES'],
      kept: [{ chain: 'KUBE-MARK-MASQ', usedBy }],
    });
  });

  test('used by another program’s rule in a built-in chain', () => {
    const inner = '-A KUBE-SVC-ABCDEFGHIJKLMN22 -g KUBE-MARK-MASQ';
    const usedBy = '-A OUTPUT -d 192.0.2.1/32 -j KUBE-SVC-ABCDEFGHIJKLMN22';
    const plans = planRemoval(table(usedBy, inner));
    assert.deepEqual(plans[0]!.kept, [
      { chain: 'KUBE-SVC-ABCDEFGHIJKLMN22', usedBy },
      { chain: 'KUBE-MARK-MASQ', usedBy: inner },
    ]);
    assert.equal(restoreInput(plans), '*nat\n:KUBE-SERVICES - [0:0]\n-X KUBE-SERVICES\nCOMMIT\n');
  });
});

test('text in a comment is no jump, and other output is no table', () => {
  const saved = `garbage\n:KUBE-SERVICES - [0:0]\n${builtIn('filter', 'INPUT')}-A INPUT -m comment --comment "say \\" -j KUBE-SERVICES" -j ACCEPT\nCOMMIT\n`;
  assert.deepEqual(planRemoval(saved), []);
  assert.deepEqual(planRemoval(''), []);
});
