import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as codecs from '../testdata/generated/codecs.ts';
import { bpf, load } from '../testing/kernel.ts';
import { perCpu, s32, u8, u16, u32, u64 } from './codec.ts';
import { BpfMap } from './map.ts';
import { TypedMap } from './typed-map.ts';
import { mapTypes } from './uapi.ts';

describe('a typed map', () => {
  test('reads and writes elements as values of its codecs', () => {
    using object = load('connects', { programs: [] });
    const connects = object.typedMap('connects', u16, u64);
    connects.update(443, 7n);
    connects.update(80, 1n, 'create');
    assert.throws(() => connects.update(80, 2n, 'create'), { name: 'KeyExists' });
    assert.equal(connects.lookup(443), 7n);
    assert.equal(connects.lookup(22), undefined);
    assert.deepEqual(
      new Map(connects.entries()),
      new Map([
        [443, 7n],
        [80, 1n],
      ]),
    );
    assert.equal(connects.delete(80), true);
    assert.equal(connects.delete(80), false);
  });

  test('takes the codecs that generateBindings writes', () => {
    const key = codecs.endpointCodec;
    using map = BpfMap.create(bpf, {
      ...{ type: mapTypes.hash, keySize: key.size, valueSize: u32.size },
      maxEntries: 4,
    });
    const typed = new TypedMap(map, key, u32);
    const address = { address: new Uint8Array(16).fill(1), port: 443, protocol: 6, zone: 9 };
    typed.update(address, 5);
    assert.deepEqual([...typed.entries()], [[address, 5]]);
  });

  test('has the values of all CPUs where the map is per CPU', () => {
    const cpus = bpf.possibleCpus;
    using map = BpfMap.create(bpf, {
      ...{ type: mapTypes.percpu_array, keySize: 4, valueSize: 4, maxEntries: 1 },
    });
    const typed = new TypedMap(map, u32, perCpu(u32, cpus));
    const values = Array.from({ length: cpus }, (_, cpu) => cpu + 1);
    typed.update(0, values);
    assert.deepEqual(typed.lookup(0), values);
    assert.throws(() => typed.update(0, []), /encode values of \d+ CPUs: 0 given/);
  });

  test('refuses codecs of other sizes than the map has', () => {
    using object = load('connects', { programs: [] });
    assert.throws(() => object.typedMap('connects', u32, u8), {
      name: 'Incompatible',
      message:
        'reuse map connects: a key has 2 bytes, the codec 4; a value has 8 bytes, the codec 1',
    });
  });
});

test('codecs of integers check the room that they are given', () => {
  const bytes = new Uint8Array(8);
  s32.encode(-2, bytes, 4);
  assert.deepEqual([...bytes], [0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff]);
  assert.equal(s32.decode(bytes, 4), -2);
  assert.throws(() => u64.decode(bytes, 4), RangeError);
  assert.throws(() => u16.encode(1, new Uint8Array(1)), RangeError);
});
