import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allOrNothing, Disposal } from './disposal.ts';

const part = (name: string, released: string[], error?: Error): Disposable => ({
  [Symbol.dispose]() {
    released.push(name);
    if (error) throw error;
  },
});

test('a Disposal releases its parts once, the last one first, also when one fails', () => {
  const released: string[] = [];
  const disposal = new Disposal();
  disposal.use(part('a', released));
  disposal.use(part('b', released, new Error('b fails')));
  disposal.use(part('c', released));
  assert.throws(() => disposal[Symbol.dispose](), /b fails/);
  assert.deepEqual(released, ['c', 'b', 'a']);
  disposal[Symbol.dispose]();
  assert.equal(released.length, 3);
});

test('allOrNothing releases what was opened only when making fails', () => {
  const released: string[] = [];
  assert.equal(
    allOrNothing((opened) => {
      opened.use(part('kept', released));
      return 1;
    }),
    1,
  );
  assert.throws(
    () =>
      allOrNothing((opened) => {
        opened.use(part('a', released));
        opened.use(part('b', released));
        throw new Error('no');
      }),
    /no/,
  );
  assert.deepEqual(released, ['b', 'a']);
});
