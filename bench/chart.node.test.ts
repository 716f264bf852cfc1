import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chart } from './chart.ts';

const row = (variant: string, size: number, ratioToDirect: number) => ({
  ...{ case: 'connect', size, variant, ratioToDirect },
  ...{ p50Us: 80, spread: 0.01 },
});

test('each variant has a bar and a figure at each size, or says that it was not measured', () => {
  const picture = chart([
    row('direct', 10, 1),
    row('heddle service', 10, 1.02),
    row('direct', 50_000, 1),
    row('heddle service', 50_000, 1.03),
    row('iptables service', 50_000, 3.3),
  ])!;
  for (const text of ['10 services', '50,000 services', '1.02', '1.03', '3.30', 'not measured']) {
    assert.ok(picture.includes(`>${text}</text>`), text);
  }
  assert.equal(picture.match(/<rect /g)!.length, 1 + 5, 'a background and five bars');
  assert.equal(picture.match(/<path /g)!.length, 1, 'one bar is cut');
  assert.ok(!/NaN|undefined|Infinity/.test(picture));
});

test('there is no chart of cases that have no ratios', () => {
  assert.equal(chart([{ ...row('heddle', 5_000, 1), case: 'memory' }]), undefined);
});
