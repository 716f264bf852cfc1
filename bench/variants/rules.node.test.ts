import assert from 'node:assert/strict';
import { test } from 'node:test';
import { services } from '../catalog.ts';
import { iptablesRules } from './iptables-rules.ts';
import { nftablesRules } from './nftables-rules.ts';

const count = 50;

test('iptables: a portal, three rules and two endpoint chains per service, each chain declared once', () => {
  const lines = iptablesRules(services(count)).split('\n');
  const starting = (prefix: string) => lines.filter((line) => line.startsWith(prefix));
  const portals = starting('-A KUBE-SERVICES -d ');
  assert.equal(portals.length, count);
  assert.equal(new Set(portals.map((line) => line.split(' -j ')[1])).size, count);
  assert.equal(starting('-A KUBE-SVC-').length, 3 * count);
  assert.equal(starting('-A KUBE-SEP-').length, 4 * count);
  assert.equal(lines.filter((line) => line.includes('--probability 0.5000000000')).length, count);
  const chains = starting(':').map((line) => line.slice(1).split(' ')[0]!);
  // The name of a chain has room for 28 characters.
  assert.ok(chains.every((name) => name.length <= 28));
  const own = chains.filter((name) => /^KUBE-S(VC|EP)-/.test(name));
  assert.equal(new Set(own).size, 3 * count);
  for (const line of lines) {
    const target = / -j (KUBE-\S+)/.exec(line)?.[1];
    if (target) assert.ok(chains.includes(target), `${target} is declared`);
  }
});

test('nftables: an element of the verdict map, a service chain and two endpoint chains per service', () => {
  const text = nftablesRules(services(count));
  const matches = (pattern: RegExp) => [...text.matchAll(pattern)].map((match) => match[1]!);
  const chains = matches(/chain (\S+) \{/g);
  assert.equal(new Set(chains).size, chains.length);
  assert.equal(matches(/10\.96\.\S+ \. tcp \. 80 : goto (service-[^\s,]+)/g).length, count);
  assert.equal(matches(/(numgen random mod 2 vmap)/g).length, count);
  assert.equal(matches(/(dnat to 10\.244\.1\.[23]:8080)/g).length, 2 * count);
  for (const target of matches(/(?:goto|jump) ([^\s,;]+)/g)) {
    assert.ok(chains.includes(target), `${target} is declared`);
  }
});
