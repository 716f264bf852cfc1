import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AF_INET, AF_INET6 } from '@heddle/sys/net';
import { sandbox } from '../testing/kernel.ts';
import {
  addRoutingRule,
  listRoutingRules,
  type RoutingRule,
  removeRoutingRule,
} from './routing-rules.ts';

test("listRoutingRules returns a namespace's first rules", () => {
  using here = sandbox();
  const rule = (family: RoutingRule['family'], priority: number, table: number) =>
    ({ family, priority, invert: false, action: 'lookup', table }) as const;
  assert.deepEqual(listRoutingRules(here.socket), [
    rule(AF_INET, 0, 255),
    rule(AF_INET, 32766, 254),
    rule(AF_INET, 32767, 253),
    rule(AF_INET6, 0, 255),
    rule(AF_INET6, 32766, 254),
  ]);
});

test('routing rules with all properties are added, listed and removed', () => {
  using here = sandbox();
  const rules: RoutingRule[] = [
    { family: AF_INET, priority: 100, source: '10.0.0.0/8', table: 1000 },
    { family: AF_INET, priority: 101, destination: '10.1.0.0/16', inputLink: 'lo' },
    { family: AF_INET, priority: 102, mark: 0x100, markMask: 0xff00, table: 70_000 },
    { family: AF_INET, priority: 103, outputLink: 'eth0', invert: true },
    { family: AF_INET, priority: 104, source: '10.9.0.0/16', action: 'unreachable' },
    { family: AF_INET, priority: 105, action: 'goto', target: 32766 },
    { family: AF_INET, priority: 106, tos: 0x10 },
    { family: AF_INET6, priority: 100, source: 'fd00::/8', destination: 'fd01::1/128', table: 9 },
    { family: AF_INET6, priority: 101, action: 'blackhole' },
  ];
  for (const rule of rules) {
    addRoutingRule(here.socket, rule);
    assert.throws(() => addRoutingRule(here.socket, rule), { code: 'EEXIST' });
    const listed = listRoutingRules(here.socket).find(
      ({ family, priority }) => family === rule.family && priority === rule.priority,
    );
    const table = (rule.action ?? 'lookup') === 'lookup' ? { table: rule.table ?? 254 } : {};
    const defaults = { invert: false, action: 'lookup', ...table };
    assert.deepEqual(listed, { ...defaults, ...rule });
  }
  for (const rule of rules) {
    assert.equal(removeRoutingRule(here.socket, rule), true, JSON.stringify(rule));
    assert.equal(removeRoutingRule(here.socket, rule), false, JSON.stringify(rule));
  }
  assert.equal(listRoutingRules(here.socket).length, 5);
});

test('addRoutingRule refuses addresses of another family than that of the rule', () => {
  using here = sandbox();
  assert.throws(
    () => addRoutingRule(here.socket, { family: AF_INET, source: 'fd00::/8' }),
    /^RangeError: use routing rule: source fd00::\/8 is not of the family of the rule$/,
  );
});
