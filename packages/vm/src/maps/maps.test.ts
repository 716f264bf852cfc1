import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BpfMap, type MapSpec, mapTypes } from '@heddle/ebpf';
import { mapSpec } from '@heddle/ebpf/testing/map-spec';
import { loadText } from '../../testing/run.ts';
import { VmBpf } from '../vm-bpf.ts';

const u32 = (...words: number[]) => new Uint8Array(new Uint32Array(words).buffer);
const word = (bytes: Uint8Array | undefined) => bytes && new Uint32Array(bytes.slice().buffer)[0];
const packet = new Uint8Array(64);

function create(bpf: VmBpf, changes: Partial<MapSpec>): BpfMap {
  return BpfMap.create(bpf, mapSpec(changes));
}

test('an LRU map evicts the element that was used least recently', () => {
  const bpf = new VmBpf();
  using lru = create(bpf, { name: 'lru', type: mapTypes.lru_hash, maxEntries: 3 });
  for (const key of [1, 2, 3]) lru.update(u32(key), u32(key));
  // A lookup by bpf(2) is no use, one by a program is.
  lru.lookup(u32(2));
  using use = loadText(
    bpf,
    '*(u32 *)(r10 - 4) = 1; r1 = map lru; r2 = r10; r2 += -4; call 1; r0 = 0; exit',
    { lru },
  );
  use.testRun({ data: packet });
  lru.update(u32(4), u32(4));
  assert.deepEqual([...lru.entries()].map(([key]) => word(key)).sort(), [1, 3, 4]);
  lru.update(u32(3), u32(33));
  lru.update(u32(5), u32(5));
  assert.deepEqual([...lru.entries()].map(([key]) => word(key)).sort(), [3, 4, 5]);
});

test('a full hash map refuses elements until one is deleted', () => {
  using map = create(new VmBpf(), { name: 'small', maxEntries: 100 });
  for (let key = 0; key < 100; key++) map.update(u32(key), u32(key));
  assert.throws(() => map.update(u32(100), u32(0)), /E2BIG/);
  map.update(u32(5), u32(55));
  assert.equal(map.delete(u32(7)), true);
  assert.equal(map.delete(u32(7)), false);
  map.update(u32(100), u32(1));
  assert.equal([...map.entries()].length, 100);
  assert.equal(word(map.lookup(u32(5))), 55);
});

test('an LPM trie returns the value of the longest prefix', () => {
  using trie = create(new VmBpf(), { name: 'trie', type: mapTypes.lpm_trie, keySize: 8, flags: 1 });
  const prefix = (length: number, ...address: number[]) =>
    Uint8Array.of(length, 0, 0, 0, ...address, ...Array(4 - address.length).fill(0));
  trie.update(prefix(8, 10), u32(8));
  trie.update(prefix(24, 10, 1, 2), u32(24));
  trie.update(prefix(0), u32(0));
  const find = (...address: number[]) => word(trie.lookup(prefix(32, ...address)));
  assert.equal(find(10, 1, 2, 3), 24);
  assert.equal(find(10, 9, 2, 3), 8);
  assert.equal(find(11, 0, 0, 1), 0);
  assert.equal(word(trie.lookup(prefix(16, 10, 1))), 8, 'not longer than the key itself');
  trie.delete(prefix(24, 10, 1, 2));
  assert.equal(find(10, 1, 2, 3), 8);
});

test('a listing is stable, and restarts after a deleted key', () => {
  using map = create(new VmBpf(), { name: 'walked', maxEntries: 50 });
  for (let key = 0; key < 50; key++) map.update(u32(key), u32(key));
  const first = [...map.keys()].map(word);
  assert.deepEqual([...map.keys()].map(word), first);
  map.delete(u32(first[0]!));
  assert.deepEqual([...map.keys()].map(word), first.slice(1));
  assert.equal(word(map.keys().next().value), first[1]);
});

describe('arrays', () => {
  test('mapped memory of an array is shared with programs', () => {
    const bpf = new VmBpf();
    using array = create(bpf, {
      name: 'array',
      type: mapTypes.array,
      flags: 1 << 10,
      valueSize: 12,
    });
    using memory = array.mmap();
    assert.equal(memory.bytes.length, 16 * 16);
    memory.bytes[3 * 16] = 77;
    assert.equal(array.lookup(u32(3))![0], 77);
    using program = loadText(
      bpf,
      '*(u32 *)(r10 - 4) = 3; r1 = map array; r2 = r10; r2 += -4; call 1; *(u8 *)(r0 + 11) = 5; r0 = *(u8 *)(r0 + 0); exit',
      { array },
    );
    assert.equal(program.testRun({ data: packet }).returnValue, 77);
    assert.equal(memory.bytes[3 * 16 + 11], 5);
  });

  test('a frozen array refuses writes by bpf(2)', () => {
    using array = create(new VmBpf(), { name: 'array', type: mapTypes.array });
    array.freeze();
    assert.throws(() => array.update(u32(0), u32(1)), /EPERM/);
    assert.throws(() => array.freeze(), /EBUSY/);
  });

  test('a per-CPU array has a value for each CPU', () => {
    const bpf = new VmBpf({ cpus: 3 });
    using counters = create(bpf, { name: 'counters', type: mapTypes.percpu_array, valueSize: 8 });
    using count = loadText(
      bpf,
      '*(u32 *)(r10 - 4) = 2; r1 = map counters; r2 = r10; r2 += -4; call 1; r1 = 1; lock *(u64 *)(r0 + 0) += r1; r0 = 0; exit',
      { counters },
    );
    for (const cpu of [0, 2, 2]) {
      bpf.machine.cpu = cpu;
      count.testRun({ data: packet });
    }
    assert.deepEqual([...new BigUint64Array(counters.lookup(u32(2))!.buffer)], [1n, 0n, 2n]);
  });
});

test('a map of maps has maps as values', () => {
  const bpf = new VmBpf();
  const inner = mapSpec({ name: 'inner', type: mapTypes.array, maxEntries: 1 });
  using one = BpfMap.create(bpf, inner);
  using outer = create(bpf, { name: 'outer', type: mapTypes.hash_of_maps, inner });
  outer.update(u32(9), u32(one.fd));
  one.update(u32(0), u32(42));
  assert.equal(word(outer.lookup(u32(9))), one.info.id);
  using program = loadText(
    bpf,
    `*(u32 *)(r10 - 4) = 9; r1 = map outer; r2 = r10; r2 += -4; call 1
     if r0 == 0 goto end
     *(u32 *)(r10 - 4) = 0; r1 = r0; r2 = r10; r2 += -4; call 1
     if r0 == 0 goto end
     r0 = *(u32 *)(r0 + 0)
     end:; exit`,
    { outer },
  );
  assert.equal(program.testRun({ data: packet }).returnValue, 42);
});

test('bpf_for_each_map_elem visits all elements until the function returns 1', () => {
  const bpf = new VmBpf();
  using map = create(bpf, { name: 'map', maxEntries: 20 });
  for (let key = 0; key < 10; key++) map.update(u32(key), u32(100 + key));
  using sum = loadText(
    bpf,
    `*(u64 *)(r10 - 8) = 0
     r1 = map map; r2 = function add; r3 = r10; r3 += -8; r4 = 0; call 164
     r1 = *(u64 *)(r10 - 8); r0 <<= 16; r0 |= r1; exit
     add:; r1 = *(u32 *)(r2 + 0); r2 = *(u32 *)(r3 + 0); r1 += r2
     r2 = *(u64 *)(r4 + 0); r2 += r1; *(u64 *)(r4 + 0) = r2; r0 = 0; exit`,
    { map },
  );
  const expected = Array.from({ length: 10 }, (_, key) => 100 + 2 * key).reduce((a, b) => a + b);
  assert.equal(sum.testRun({ data: packet }).returnValue, (10 << 16) | expected);
});

test('timers run when they are due by the clock of the caller', () => {
  let now = 1000n;
  const due: bigint[] = [];
  const bpf = new VmBpf({ now: () => now, onTimer: (at) => due.push(at) });
  using timers = create(bpf, {
    name: 'timers',
    type: mapTypes.array,
    valueSize: 24,
    maxEntries: 1,
  });
  using start = loadText(
    bpf,
    `r6 = value timers
     r1 = r6; r2 = map timers; r3 = 1; call 169
     r1 = r6; r2 = function ring; call 170
     r1 = r6; r2 = 500; r3 = 0; call 171; exit
     ring:; r6 = r3; r1 = *(u64 *)(r6 + 16); r1 += 1; *(u64 *)(r6 + 16) = r1
     r1 = r6; r2 = 500; r3 = 0; call 171; r0 = 0; exit`,
    { timers },
  );
  assert.equal(start.testRun({ data: packet }).returnValue, 0);
  const rung = () => timers.lookup(u32(0))![16];
  assert.deepEqual(due, [1500n]);
  now = 1499n;
  bpf.machine.runTimers();
  assert.equal(rung(), 0);
  now = 1500n;
  bpf.machine.runTimers();
  assert.equal(rung(), 1);
  assert.deepEqual(due, [1500n, 2000n]);
  start[Symbol.dispose]();
  now = 2000n;
  bpf.machine.runTimers();
  assert.equal(rung(), 2, 'the timer keeps its program');
  assert.deepEqual([...bpf.objects('program')].length, 1);
  timers[Symbol.dispose]();
  assert.deepEqual(
    [...bpf.objects('program')].length,
    0,
    'the program ends with the last map that holds it',
  );
});

test('closing releases descriptors, objects and regions', () => {
  const bpf = new VmBpf();
  {
    using map = create(bpf, { name: 'map' });
    using program = loadText(bpf, 'r1 = map map; r0 = 0; exit', { map });
    map[Symbol.dispose]();
    assert.equal([...bpf.objects('map')].length, 1, 'the program uses it');
    program.testRun({ data: packet });
  }
  assert.equal(bpf.descriptors.count, 0);
  for (const kind of ['map', 'program', 'btf'] as const)
    assert.deepEqual([...bpf.objects(kind)], []);
});
