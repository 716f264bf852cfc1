import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BpfMap, mapTypes, RingBuffer } from '@heddle/ebpf';
import { mapSpec } from '@heddle/ebpf/testing/map-spec';
import { loadText } from '../../testing/run.ts';
import { VmBpf } from '../vm-bpf.ts';

const packet = new Uint8Array(64);
/** Nothing becomes readable: the test drains the ring itself. */
const never = { onReadable: () => ({ [Symbol.dispose]() {} }) };

test('a ring buffer delivers records in order, also across its end, and refuses them when it is full', () => {
  const bpf = new VmBpf();
  const spec = mapSpec({
    name: 'ring',
    type: mapTypes.ringbuf,
    keySize: 0,
    valueSize: 0,
    maxEntries: 4096,
  });
  using ring = BpfMap.create(bpf, spec);
  using count = BpfMap.create(bpf, mapSpec({ name: 'count', type: mapTypes.array, maxEntries: 1 }));
  using write = loadText(
    bpf,
    `r6 = value count; r7 = *(u32 *)(r6 + 0); r7 += 1; *(u32 *)(r6 + 0) = r7
     r1 = map ring; r2 = 1000; r3 = 0; call 131
     if r0 == 0 goto full
     *(u32 *)(r0 + 0) = r7; *(u32 *)(r0 + 996) = r7
     r1 = r0; r2 = 0
     r7 &= 3; if r7 == 3 goto drop
     call 132; r0 = 1; exit
     drop:; call 133; r0 = 2; exit
     full:; r0 = 0; exit`,
    { ring, count },
  );
  const got: number[] = [];
  const onRecord = (record: Uint8Array) => {
    const words = new Uint32Array(record.slice().buffer);
    assert.equal(words.length, 250);
    assert.equal(words[0], words[249]);
    got.push(words[0]!);
  };
  using reader = new RingBuffer(bpf, ring, onRecord, never);
  const written = Array.from({ length: 5 }, () => write.testRun({ data: packet }).returnValue);
  assert.deepEqual(written, [1, 1, 2, 1, 0], 'four of 1008 bytes fit into 4096');
  reader.drain();
  assert.deepEqual(got, [1, 2, 4]);
  for (let i = 6; i < 100; i++) {
    write.testRun({ data: packet });
    reader.drain();
  }
  const kept = Array.from({ length: 94 }, (_, i) => i + 6).filter((number) => number % 4 !== 3);
  assert.deepEqual(got.slice(3), kept);
});
