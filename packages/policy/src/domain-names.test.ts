import assert from 'node:assert/strict';
import { test } from 'node:test';
import { coversName, rulesOfNames, widerPatterns } from './domain-names.ts';
import type { PolicyRule } from './rows.ts';

const rule = (name: string, ...domainNames: string[]): PolicyRule => ({
  ...{ policy: 'ClusterNetworkPolicy p', tier: 'Admin', direction: 'egress', number: 0, name },
  ...{ action: 'allow', anyPeer: false, ports: undefined, domainNames },
});

test('a name has its own rules and those of the patterns that cover it', () => {
  const [exact, wide, widest, other] = [
    rule('exact', 'www.example.com'),
    rule('wide', '*.example.com'),
    rule('widest', '*.com', 'example.org'),
    rule('other', 'example.com', '*.b.example.com'),
  ];
  const names = rulesOfNames([exact, wide, widest, other]);
  assert.deepEqual(
    Object.fromEntries(
      [...names].map(([name, rules]) => [name, [...rules].map((each) => each.name)]),
    ),
    {
      'www.example.com': ['exact', 'wide', 'widest'],
      '*.example.com': ['wide', 'widest'],
      '*.com': ['widest'],
      'example.org': ['widest'],
      'example.com': ['other', 'widest'],
      '*.b.example.com': ['other', 'wide', 'widest'],
    },
  );
});

test('a pattern covers names below it, and narrower patterns, but not its own domain', () => {
  const names = ['c', 'b.c', '*.b.c', 'a.b.c', '*.a.b.c', 'ab.c', 'x.a.b.c'];
  const covered = (pattern: string) => names.filter((name) => coversName(pattern, name));
  assert.deepEqual(covered('*.b.c'), ['*.b.c', 'a.b.c', '*.a.b.c', 'x.a.b.c']);
  assert.deepEqual(covered('b.c'), ['b.c']);
  for (const name of names) {
    const wider = names.filter((pattern) => pattern !== name && coversName(pattern, name));
    const expected = widerPatterns(name).filter((pattern) => names.includes(pattern));
    assert.deepEqual(wider.toSorted(), expected.toSorted());
  }
});

test('the patterns that cover a name', () => {
  assert.deepEqual(widerPatterns('a.b.c'), ['*.b.c', '*.c']);
  assert.deepEqual(widerPatterns('*.b.c'), ['*.c']);
  assert.deepEqual(widerPatterns('localhost'), []);
});
