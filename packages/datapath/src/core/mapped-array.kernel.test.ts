import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BpfMap, LinuxBpf, mapTypes } from '@heddle/ebpf';
import { mapSpec } from '@heddle/ebpf/testing/map-spec';
import { nodePlatform } from '@heddle/sys/node';
import { MappedArray } from './mapped-array.ts';

const BPF_F_MMAPABLE = 1 << 10;
const bpf = new LinuxBpf(nodePlatform());
const key = (index: number) => new Uint8Array(Uint32Array.of(index).buffer);

test('MappedArray maps as much of an array as is used, and keeps its content when it grows', () => {
  using map = BpfMap.create(
    bpf,
    mapSpec({ type: mapTypes.array, valueSize: 16, maxEntries: 10_000, flags: BPF_F_MMAPABLE }),
  );
  {
    using array = new MappedArray(map);
    assert.equal(array.length, 10_000);
    assert.ok(array.first(0).length < 16 * 10_000);
    array.first(1)[0] = 7;
    array.first(3000)[16 * 2999] = 8;
    assert.equal(array.first(0)[0], 7);
    assert.equal(map.lookup(key(2999))![0], 8);
    array.first(10_000)[16 * 9999 + 15] = 9;
    assert.equal(map.lookup(key(9999))![15], 9);
  }
  using again = new MappedArray(map);
  assert.equal(again.first(0).length, 16 * 10_000, 'what an earlier agent used is there at once');
});
