import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readObject } from '@heddle/ebpf';
import { objects } from '../testing/objects.ts';
import { describeAccess, mapCatalog } from './map-catalog.ts';

const names = {
  service: () => 'default/web',
  networkInterface: (index: number) => `if${index}`,
  policyRule: (number: number) =>
    number === 7 ? 'ingress[0] of NetworkPolicy shop/db' : undefined,
  nowNs: 5_000_000_000n,
};

describe('mapCatalog', () => {
  const specs = ['socket', 'node', 'xdp', 'pod', 'stale'].flatMap((name) => [
    ...readObject(objects(name)).maps.values(),
  ]);

  it('has exactly the maps of the compiled objects', () => {
    const found = specs.filter(({ contents }) => contents === undefined).map(({ name }) => name);
    assert.deepEqual(Object.keys(mapCatalog).sort(), [...new Set(found)].sort());
  });

  it('describes keys and values of the sizes that the maps have', () => {
    for (const { name, keySize, valueSize } of specs) {
      const key = new Uint8Array(keySize).fill(1);
      describeAccess(name, { action: 'lookup', key }, names);
      const value = new Uint8Array(valueSize).fill(1);
      describeAccess(name, { action: 'update', key, value }, names);
    }
  });

  it('describes an interface by its role', () => {
    const key = Uint8Array.of(2, 0, 0, 0);
    const meaning = (role: number) =>
      describeAccess(
        'node_devices',
        { action: 'lookup', key, value: Uint8Array.of(role, 0, 0, 0) },
        names,
      );
    assert.equal(meaning(1), 'if2 is an external interface');
    assert.equal(meaning(2), 'if2 leads to pods');
  });

  it('describes a rule of a policy by its name and action', () => {
    const meaning = (number: number, action: number) => {
      const value = new Uint8Array(16);
      value[8] = action;
      return describeAccess(
        'policy_rules',
        { action: 'lookup', key: Uint8Array.of(number, 0, 0, 0), value },
        names,
      );
    };
    assert.equal(meaning(7, 2), 'rule 7 (ingress[0] of NetworkPolicy shop/db) denies');
    assert.equal(meaning(8, 3), 'rule 8 passes to the next tier');
    assert.equal(meaning(9, 0), 'rule 9 is not programmed');
  });
});
