import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mapTypes } from '@heddle/ebpf';
import { VmBpf } from '../vm-bpf.ts';
import { createMap } from './create.ts';
import { CopiedMap, ForkedMap, SwappedMap } from './forked-map.ts';

const { machine } = new VmBpf();

function mapOf(type: number, keySize = 4) {
  const options = { type, keySize, valueSize: 8, maxEntries: 16, name: 'm', flags: 0 };
  return new ForkedMap(
    machine,
    createMap(machine, options, () => undefined),
  );
}

const bytes = (...values: number[]) => Uint8Array.from(values);
const key = (first: number) => bytes(first, 0, 0, 0);
const value = (first: number) => bytes(first, 0, 0, 0, 0, 0, 0, 0);
const viewOf = (of: Uint8Array) => new DataView(of.buffer);

/** Returns the value's first byte, as a program reads it, or undefined if there is no value. */
function read(map: ForkedMap, of: Uint8Array): number | undefined {
  const region = map.find(viewOf(of), 0);
  return region === 0 ? undefined : machine.memory.bytes(region, 0, 1, false)![0];
}

/** Adds to a value in place, as a program does. */
function increase(map: ForkedMap, of: Uint8Array): void {
  const region = map.find(viewOf(of), 0);
  const [first] = [machine.memory.bytes(region, 0, 1, true)!];
  first[0] = first[0]! + 1;
}

function lookup(map: ForkedMap, of: Uint8Array): number | undefined {
  const found = value(0);
  return map.lookup(of, found) < 0 ? undefined : found[0];
}

for (const [name, type] of [
  ['hash', mapTypes.hash],
  ['array', mapTypes.array],
] as const) {
  test(`${name}: a node has its own writes of programs, and all nodes have those of the control plane`, () => {
    const map = mapOf(type);
    map.update(key(1), value(10), 0);
    const [one, two] = [new CopiedMap(machine, map), new CopiedMap(machine, map)];
    map.use(one);
    increase(map, key(1));
    increase(map, key(1));
    map.use(two);
    increase(map, key(1));
    assert.deepEqual([read(map, key(1)), lookup(map, key(1))], [11, 11]);
    map.use(one);
    assert.deepEqual([read(map, key(1)), lookup(map, key(1))], [12, 12]);
    map.use(undefined);
    assert.equal(lookup(map, key(1)), 10);
    // Another value is changed: the copies stay.
    map.update(key(2), value(20), 0);
    map.use(one);
    assert.deepEqual([read(map, key(1)), read(map, key(2))], [12, 20]);
    // The value itself is: it is taken anew.
    map.use(undefined);
    map.update(key(1), value(30), 0);
    map.use(one);
    assert.equal(read(map, key(1)), 30);
    one.forget(key(1));
    assert.equal(read(map, key(1)), 30);
    map.dispose();
  });
}

test('a key that the control plane deletes is deleted for all nodes, and one that a node adds is its own', () => {
  const map = mapOf(mapTypes.hash);
  map.update(key(1), value(1), 0);
  const [one, two] = [new CopiedMap(machine, map), new CopiedMap(machine, map)];
  map.use(one);
  assert.equal(read(map, key(1)), 1);
  map.store(viewOf(key(5)), 0, viewOf(value(50)), 0, 0);
  assert.equal(read(map, key(5)), 50);
  map.use(two);
  assert.equal(read(map, key(5)), undefined);
  map.use(undefined);
  map.delete(key(1));
  map.use(one);
  assert.deepEqual([read(map, key(1)), read(map, key(5))], [undefined, 50]);
  assert.equal(map.remove(viewOf(key(5)), 0), 0);
  assert.equal(read(map, key(5)), undefined);
  map.dispose();
});

test('SwappedMap exchanges two addresses', () => {
  const map = mapOf(mapTypes.hash, 6);
  const [first, second] = [bytes(1, 1, 1, 1, 0, 80), bytes(2, 2, 2, 2, 0, 80)];
  map.update(first, value(1), 0);
  map.update(bytes(9, 9, 9, 9, 0, 80), value(9), 0);
  const swaps = [[bytes(1, 1, 1, 1), bytes(2, 2, 2, 2)]] as const;
  map.use(new SwappedMap(machine, map.original, swaps, false));
  assert.deepEqual([read(map, first), read(map, second)], [undefined, 1]);
  assert.deepEqual([lookup(map, second), read(map, bytes(9, 9, 9, 9, 0, 80))], [1, 9]);
  map.use(undefined);
  assert.equal(read(map, first), 1);
  map.update(second, value(2), 0);
  map.use(new SwappedMap(machine, new CopiedMap(machine, map), swaps, true));
  increase(map, first);
  assert.deepEqual([read(map, first), read(map, second)], [3, 1]);
  map.use(undefined);
  assert.deepEqual([read(map, first), read(map, second)], [1, 2]);
  map.dispose();
});
