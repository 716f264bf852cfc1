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

test('NodePorts: one rule or element each, by way of a chain that masquerades', () => {
  const outside = services(count, 'north-south');
  const lines = iptablesRules(outside).split('\n');
  const portOf = (line: string) => / --dport (\d+) /.exec(line)?.[1];
  const entries = lines.filter((line) => line.startsWith('-A KUBE-NODEPORTS '));
  assert.equal(new Set(entries.map(portOf)).size, count);
  for (const line of entries) {
    const chain = line.split(' -j ')[1]!;
    const [first, second] = lines.filter((each) => each.startsWith(`-A ${chain} `));
    assert.ok(first!.endsWith(' -j KUBE-MARK-MASQ'));
    assert.match(second!, / -j KUBE-SVC-\S{16}$/);
    assert.ok(lines.includes(`:${chain} - [0:0]`));
  }
  assert.equal(
    lines.filter((line) => line.includes('--to-destination 10.244.2.')).length,
    2 * count,
  );

  const text = nftablesRules(outside);
  const elements = [...text.matchAll(/tcp \. 1\d{4} : goto (external-\S+?)[, ]/g)].map(
    (m) => m[1]!,
  );
  assert.equal(new Set(elements).size, count);
  for (const chain of elements) {
    const service = chain.replace('external-', 'service-');
    assert.ok(
      text.includes(`chain ${chain} {\n  jump mark-for-masquerade\n  goto ${service}\n  }`),
    );
  }
});
