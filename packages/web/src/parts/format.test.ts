import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  formatBytes,
  formatCount,
  formatFull,
  formatMilliseconds,
  formatNumber,
  formatPort,
  formatRate,
  formatSpan,
  formatTime,
} from './format.ts';

test('rates have at most three digits', () => {
  const cases: [number, string][] = [
    [0, '0'],
    [Number.NaN, '0'],
    [0.04, '< 0.1'],
    [0.4, '0.4'],
    [4, '4'],
    [9.94, '9.9'],
    [9.96, '10'],
    [38, '38'],
    [999.4, '999'],
    [999.6, '1k'],
    [1842, '1.8k'],
    [99_950, '100k'],
    [3_100_000, '3.1M'],
    [2e9, '2G'],
  ];
  for (const [rate, text] of cases) assert.equal(formatRate(rate), text, String(rate));
});

test('counts are grouped by a narrow blank', () => {
  assert.equal(formatCount(7), '7');
  assert.equal(formatCount(1842), '1\u202f842');
  assert.equal(formatCount(1_657_800), '1\u202f657\u202f800');
  assert.equal(formatNumber(1, 'pod'), '1 pod');
  assert.equal(formatNumber(2, 'policy', 'policies'), '2 policies');
});

test('bytes have the unit behind the number', () => {
  assert.equal(formatBytes(60), '60\u202fB');
  assert.equal(formatBytes(1500), '1.5\u202fkB');
});

test('a time of another day has its date', () => {
  const noon = new Date(2026, 10, 30, 12, 5, 6, 78).getTime();
  assert.equal(formatTime(noon, noon + 3600_000), '12:05');
  assert.equal(formatTime(noon, noon + 86_400_000), '30 Nov, 12:05');
  assert.equal(formatMilliseconds(noon), '12:05:06.078');
  assert.match(formatFull(noon), /^30 Nov 2026, 12:05:06 UTC[+−]\d\d:\d\d$/);
});

test('spans are in the unit that reads best', () => {
  const cases: [number, string][] = [
    [-5, '0 s'],
    [40_000, '40 s'],
    [15 * 60_000, '15 min'],
    [60 * 60_000, '1 h'],
    [90 * 60_000, '90 min'],
    [24 * 3600_000, '24 h'],
    [72 * 3600_000, '3 days'],
  ];
  for (const [span, text] of cases) assert.equal(formatSpan(span), text);
});

test('protocols have their names, ports their numbers', () => {
  assert.equal(formatPort(6, 8443), 'TCP 8443');
  assert.equal(formatPort(1, 0), 'ICMP');
  assert.equal(formatPort(47, 0), 'protocol 47');
});
