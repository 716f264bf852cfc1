import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { TimeMerge } from './merge.ts';

interface Item {
  readonly time: number;
  readonly stream: number;
}

const timeOf = ({ time }: Item) => time;

async function* streamOf(stream: number, times: readonly number[]): AsyncGenerator<Item> {
  for (const time of times) {
    // Streams advance in different orders.
    if (time % 3 === stream % 3) await new Promise((resolve) => setImmediate(resolve));
    yield { time, stream };
  }
}

/** Returns a stream that brings nothing and ends when it is returned. */
function silentStream(): AsyncIterable<Item> & { isEnded: boolean } {
  let end: (result: IteratorResult<Item>) => void = () => {};
  const silent = {
    isEnded: false,
    [Symbol.asyncIterator]: () => ({
      next: () =>
        new Promise<IteratorResult<Item>>((resolve) => {
          end = resolve;
        }),
      return: async () => {
        silent.isEnded = true;
        end({ done: true, value: undefined });
        return { done: true as const, value: undefined };
      },
    }),
  };
  return silent;
}

async function all(merge: TimeMerge<Item>, signal = new AbortController().signal) {
  const items: Item[] = [];
  for await (const item of merge.read(signal)) items.push(item);
  return items;
}

test('streams in order are merged to one in order, and nothing is lost', async () => {
  const times = fc.array(fc.array(fc.nat(50), { maxLength: 40 }), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(times, async (lists) => {
      const merge = new TimeMerge<Item>({ timeOf, shareMax: 4, waitMs: 60_000 });
      const ends: string[] = [];
      lists.forEach((list, index) => {
        const inOrder = [...list].sort((a, b) => a - b);
        merge.add(streamOf(index, inOrder), (problem) => ends.push(problem));
      });
      merge.complete();
      const merged = await all(merge);
      assert.equal(merged.length, lists.flat().length);
      assert.deepEqual(
        ends,
        lists.map(() => ''),
      );
      assert.ok(merged.every(({ time }, at) => at === 0 || merged[at - 1]!.time <= time));
      for (const [index, list] of lists.entries()) {
        const own = merged.filter(({ stream }) => stream === index).map(timeOf);
        assert.deepEqual(
          own,
          [...list].sort((a, b) => a - b),
        );
      }
    }),
    { numRuns: 200 },
  );
});

test('a stream that brings nothing delays the others once, and is given up', async () => {
  const merge = new TimeMerge<Item>({ timeOf, waitMs: 1, silenceMs: 20 });
  const silent = silentStream();
  const ends: string[] = [];
  merge.add(silent, (problem) => ends.push(problem));
  merge.add(streamOf(1, [1, 2, 3]), () => {});
  merge.complete();
  assert.deepEqual((await all(merge)).map(timeOf), [1, 2, 3]);
  assert.deepEqual(ends, ['it has sent nothing for 0.02 s']);
  assert.equal(silent.isEnded, true);
});

test('an endless stream is read no further than its share, and other streams get their turn', async () => {
  const merge = new TimeMerge<Item>({ timeOf, shareMax: 8 });
  let read = 0;
  async function* endless() {
    for (;;) yield { time: 100 + read++, stream: 0 };
  }
  merge.add(endless(), () => {});
  merge.add(streamOf(1, [1, 2, 101]), () => {});
  merge.complete();
  const items: Item[] = [];
  for await (const item of merge.read(new AbortController().signal)) {
    items.push(item);
    assert.ok(read <= items.length + 9, `${read} items were read for ${items.length}`);
    if (items.length === 50) break;
  }
  assert.deepEqual(items.slice(0, 4).map(timeOf), [1, 2, 100, 101]);
  assert.equal(items.filter(({ stream }) => stream === 1).length, 3);
});

test('a stream that fails ends with its reason, and the others go on', async () => {
  const merge = new TimeMerge<Item>({ timeOf });
  async function* failing() {
    yield { time: 1, stream: 0 };
    throw new Error('the peer is gone');
  }
  const ends: string[] = [];
  merge.add(failing(), (problem) => ends.push(problem));
  merge.add(streamOf(1, [1, 2]), (problem) => ends.push(problem));
  merge.complete();
  assert.equal((await all(merge)).length, 3);
  assert.deepEqual(ends.sort(), ['', 'the peer is gone']);
});

test('a merge that is aborted ends all streams', async () => {
  const stop = new AbortController();
  const merge = new TimeMerge<Item>({ timeOf });
  const silent = silentStream();
  merge.add(silent, () => {});
  const read = all(merge, stop.signal);
  stop.abort();
  assert.deepEqual(await read, []);
  assert.equal(silent.isEnded, true);
});
