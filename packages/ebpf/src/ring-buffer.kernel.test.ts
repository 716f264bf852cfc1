import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { bpf, load, longs, openFds, platform, temporaryCgroup, u32 } from '../testing/kernel.ts';
import { mapSpec } from '../testing/map-spec.ts';
import { TestSocket } from '../testing/sockets.ts';
import { attachCgroup } from './links/cgroup.ts';
import { BpfMap } from './map.ts';
import { setVariable } from './object-spec.ts';
import { RingBuffer } from './ring-buffer.ts';

const packet = new Uint8Array(64);

/** Returns the object whose tc program writes a record with its number, and throws every third away. */
function recorder() {
  const object = load('packets', { programs: ['tc_record'] });
  return {
    object,
    map: object.map('records'),
    write: (count: number) => {
      for (let i = 0; i < count; i++) object.program('tc_record').testRun({ data: packet });
    },
  };
}

const kept = (from: number, to: number) => {
  const numbers: bigint[] = [];
  for (let i = from; i < to; i++) if (i % 3 !== 2) numbers.push(BigInt(i));
  return numbers;
};

describe('a ring buffer', () => {
  test('a ring buffer delivers each record once, in order, and no discarded one', () => {
    using object = recorder().object;
    const program = object.program('tc_record');
    const seen: bigint[] = [];
    using ring = new RingBuffer(bpf, object.map('records'), (record) => {
      const [number, complement, length] = longs(record);
      assert.equal(complement, BigInt.asUintN(64, ~number!));
      assert.equal(length, 64n);
      seen.push(number!);
    });
    // The ring has room for 127 records; several rounds make it wrap.
    let written = 0;
    for (const count of [1, 2, 100, 120, 7, 127, 90]) {
      for (let i = 0; i < count; i++) program.testRun({ data: packet });
      assert.equal(ring.drain(), count * 32);
      written += count;
    }
    assert.deepEqual(seen, kept(0, written));
    assert.equal(ring.drain(), 0);
  });

  test('a full ring buffer loses the newest records, and works again after it is read', () => {
    const { object, map, write } = recorder();
    using _object = object;
    const seen: bigint[] = [];
    using ring = new RingBuffer(bpf, map, (record) => seen.push(longs(record)[0]!));
    write(200);
    ring.drain();
    assert.deepEqual(seen, kept(0, 127));
    write(3);
    ring.drain();
    assert.deepEqual(seen, [...kept(0, 127), ...kept(200, 203)]);
  });

  test('a record wakes the event loop', async () => {
    const before = openFds();
    const started = platform.wallTimeMs();
    {
      const { object, map, write } = recorder();
      using _object = object;
      const seen: bigint[] = [];
      let wake = () => {};
      using _ring = new RingBuffer(bpf, map, (record) => {
        seen.push(longs(record)[0]!);
        wake();
      });
      for (const upTo of [2, 4, 7]) {
        const woken = new Promise<void>((resolve) => {
          wake = resolve;
        });
        write(upTo - (seen.length === 0 ? 0 : seen.length === 2 ? 2 : 4));
        await woken;
        await new Promise((resolve) => setTimeout(resolve, 5));
        assert.deepEqual(seen, kept(0, upTo));
        seen.length = kept(0, upTo).length;
      }
    }
    // Code that awaits a promise of the handler continues at once, not at the next timer.
    assert.ok(platform.wallTimeMs() - started < 5000);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(openFds(), before);
  });

  test('drain throws the error of the handler, and the record is not repeated', () => {
    const { object, map, write } = recorder();
    using _object = object;
    const seen: bigint[] = [];
    using ring = new RingBuffer(bpf, map, (record) => {
      seen.push(longs(record)[0]!);
      if (seen.length === 1) throw new Error('first');
    });
    write(2);
    assert.throws(() => ring.drain(), /first/);
    ring.drain();
    assert.deepEqual(seen, [0n, 1n]);
  });

  test('the handler may close the ring buffer, and the next reader continues there', () => {
    const { object, map, write } = recorder();
    using _object = object;
    const seen: bigint[] = [];
    const first = new RingBuffer(bpf, map, (record) => {
      first[Symbol.dispose]();
      seen.push(longs(record)[0]!);
    });
    write(2);
    first.drain();
    assert.throws(() => first.drain(), /^Error: use ring buffer \w+: it is closed$/);
    using second = new RingBuffer(bpf, map, (record) => seen.push(longs(record)[0]!));
    second.drain();
    assert.deepEqual(seen, [0n, 1n]);
  });

  test('a ring buffer delivers events of connections', async () => {
    using cgroup = temporaryCgroup();
    using object = load('connects', {}, (spec) => setVariable(spec, 'with_events', u32(1)));
    using _link = attachCgroup(bpf, object.program('connect4'), cgroup);
    const event = new Promise<[number, number]>((resolve) => {
      const ring = new RingBuffer(bpf, object.map('events'), (record) => {
        const view = new DataView(record.buffer, record.byteOffset, record.length);
        resolve([view.getUint16(0, true), view.getUint32(4, true)]);
        ring[Symbol.dispose]();
      });
    });
    const port = cgroup.enter(() => {
      using server = new TestSocket('tcp');
      using client = new TestSocket('tcp');
      const listening = server.bind(true);
      assert.equal(client.connect(listening), 'ok');
      return listening;
    });
    assert.deepEqual(await event, [port, 2]);
  });

  test('a ring buffer refuses another type of map', () => {
    using map = BpfMap.create(bpf, mapSpec({ name: 'plain' }));
    assert.throws(
      () => new RingBuffer(bpf, map, () => {}),
      /read ring buffer plain: it is a map of type hash/,
    );
  });
});
