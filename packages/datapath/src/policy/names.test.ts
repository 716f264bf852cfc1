import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PolicyRow, PolicyRule, PolicyUpdate } from '@heddle/policy';
import { PolicyMaps } from '../../testing/policy-maps.ts';
import { keyText } from '../core/keyed-map.ts';
import { decodeDnsName, decodeDnsNameClass, decodeDnsState } from '../generated/abi.ts';
import { nameKey, nameOf } from './name-key.ts';
import { Vectors } from './vectors.ts';

const rule = (number: number, ...domainNames: string[]): PolicyRule => ({
  ...{ policy: 'ClusterNetworkPolicy names', tier: 'Admin', direction: 'egress', number },
  ...{ name: '', action: 'allow', anyPeer: false, ports: undefined, domainNames },
});

const row = (rules: readonly PolicyRule[]): PolicyRow => ({
  ...{ key: 'ClusterNetworkPolicy names', tier: 'Admin', priority: 0, rules },
  ...{ isAudited: false, problems: [] },
});

function update(
  upserted: readonly PolicyRow[],
  added: readonly PolicyRule[],
  removed: readonly PolicyRule[] = [],
): PolicyUpdate {
  return {
    policies: { upserted, removed: [] },
    rules: { added, removed },
    peers: {
      ...{ created: new Map(), gained: new Map(), lost: new Map() },
      ...{ assigned: new Map(), removed: [] },
    },
    subjects: { upserted: [], removed: [] },
  };
}

/** Returns the numbers of the rules of each name in the maps. */
function programmed(maps: PolicyMaps): Record<string, number[]> {
  const vectors = new Vectors(
    maps.peerVectors,
    maps.peerVectors.bytes.length / maps.peerVectors.length,
  );
  const found: Record<string, number[]> = {};
  for (const [key, value] of maps.names.names.entries()) {
    const { index, generation } = decodeDnsName(value);
    const place = decodeDnsNameClass(maps.names.classes.bytes, 8 * index);
    assert.equal(place.generation, generation);
    found[nameOf(key)] = [...vectors.rules(place.class)];
  }
  return found;
}

test('keys of names are prefixes of the names below them', () => {
  for (const name of ['example.com', '*.example.com', 'a.b.c.example.com', '*.com']) {
    assert.equal(nameOf(nameKey(name)), name);
  }
  const bits = (name: string) => new DataView(nameKey(name).buffer).getUint32(0, true);
  assert.deepEqual([bits('example.com'), bits('*.example.com')], [12 * 8, 12 * 8]);
});

test('a name has the rules of the patterns that cover it, and its place a new generation', () => {
  const maps = new PolicyMaps();
  const tables = maps.open();
  tables.setComplete();
  tables.activate();
  const [exact, wide, other] = [
    rule(0, 'www.example.com'),
    rule(1, '*.example.com'),
    rule(2, 'x.org'),
  ];
  tables.take(update([row([exact, wide, other])], [exact, wide, other]));
  tables.program();
  const numbers = Array.from(tables.rules(), ({ number }) => number);
  assert.deepEqual(programmed(maps), {
    'www.example.com': [numbers[0], numbers[1]],
    '*.example.com': [numbers[1]],
    'x.org': [numbers[2]],
  });
  assert.equal(decodeDnsState(maps.names.state.bytes).names, 3);
  const generationOf = (name: string) =>
    decodeDnsName(maps.names.names.values.get(keyText(nameKey(name)))!).generation;
  const before = generationOf('x.org');

  const next = [rule(0, 'x.org')];
  tables.take(update([row(next)], next, [exact, wide, other]));
  tables.program();
  maps.pass(500);
  assert.deepEqual(Object.keys(programmed(maps)), ['x.org']);
  assert.equal(generationOf('x.org'), before, 'a name that stays keeps its addresses');
  tables.take(update([row([])], [], next));
  tables.program();
  maps.pass(500);
  assert.deepEqual(programmed(maps), {});
  assert.equal(decodeDnsState(maps.names.state.bytes).names, 0);
  const again = [rule(0, 'y.org')];
  tables.take(update([row(again)], again));
  tables.program();
  assert.notEqual(generationOf('y.org'), 0);
});

test('the next agent replaces the names of an earlier one once the source is complete', () => {
  const maps = new PolicyMaps();
  const first = maps.open();
  first.setComplete();
  first.activate();
  const rules = [rule(0, 'a.org'), rule(1, 'b.org')];
  first.take(update([row(rules)], rules));
  first.program();
  first.release();
  const second = maps.open();
  second.activate();
  assert.deepEqual(Object.keys(programmed(maps)).sort(), ['a.org', 'b.org']);
  const kept = [rule(0, 'b.org')];
  second.take(update([row(kept)], kept));
  second.setComplete();
  second.program();
  maps.pass(500);
  const numbers = Array.from(second.rules(), ({ number }) => number);
  assert.deepEqual(programmed(maps), { 'b.org': numbers });
});

test('name servers are written and removed', () => {
  const maps = new PolicyMaps();
  const tables = maps.open();
  tables.setResolvers(['192.0.2.53', '2001:db8::53']);
  tables.setResolvers(['192.0.2.53']);
  assert.equal([...maps.names.resolvers.entries()].length, 1);
});
