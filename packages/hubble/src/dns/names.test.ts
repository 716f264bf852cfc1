import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DnsNames } from './names.ts';

const limits = { addresses: 3, namesOfAddress: 2, keptMin: 1000, keptMax: 10_000 };

test('an address has its latest names, each for its TTL within limits', () => {
  const names = new DnsNames(limits);
  names.add('a', 'one.test', 0, 0);
  assert.deepEqual(names.of('a', 999), ['one.test'], 'a short TTL counts for a while');
  assert.deepEqual(names.of('a', 1000), []);
  names.add('a', 'two.test', 99_999, 2000);
  assert.deepEqual(names.of('a', 11_999), ['two.test']);
  assert.deepEqual(names.of('a', 12_000), [], 'a long one not forever');
  for (const name of ['one.test', 'two.test', 'three.test', 'two.test']) names.add('a', name, 5, 0);
  assert.deepEqual(names.of('a', 1), ['two.test', 'three.test']);
  assert.deepEqual(names.of('b', 1), []);
});

test('an address that was learnt longest ago makes room', () => {
  const names = new DnsNames(limits);
  for (const address of ['a', 'b', 'c']) names.add(address, `${address}.test`, 5, 0);
  names.add('a', 'a.test', 5, 1);
  names.add('d', 'd.test', 5, 2);
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((address) => names.of(address, 3).length),
    [1, 0, 1, 1],
  );
  assert.equal(names.size, 3);
});
