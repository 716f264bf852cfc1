import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Algorithm } from '@heddle/objects';
import type { Backend } from '@heddle/services';
import { slotsOf, weightedSlots } from './slots.ts';

const backend = (last: number, weight = 1): Backend => ({
  address: `10.244.1.${last}`,
  port: 8080,
  state: 'active',
  weight,
});

const run = (algorithm: Algorithm, backends: readonly Backend[]) =>
  slotsOf(
    algorithm,
    backends,
    backends.map((_, i) => i),
  );

test('random, round robin and least connections have a slot for each backend', () => {
  for (const algorithm of ['random', 'round-robin', 'least-connections'] as const) {
    assert.deepEqual([...run(algorithm, [backend(1, 5), backend(2)])], [0, 1]);
  }
});

test('draining backends get no slot', () => {
  const drains: Backend = { ...backend(2), state: 'draining' };
  for (const algorithm of ['random', 'weighted'] as const) {
    assert.deepEqual(slotsOf(algorithm, [backend(1), drains, backend(3)], [7, 8, 9]), [7, 9]);
  }
});

test('weights become numbers of slots, in lowest terms', () => {
  assert.deepEqual([...run('weighted', [backend(1, 20), backend(2, 10)])], [0, 0, 1]);
});

test('large weights are scaled, and a small one keeps a slot', () => {
  const slots = run('weighted', [backend(1, 65535), backend(2, 1)]);
  assert.ok(slots.length <= weightedSlots + 1, `${slots.length}`);
  assert.equal(slots.filter((index) => index === 1).length, 1);
});

test('maglev fills a table of prime size, which is empty without backends', () => {
  assert.equal(run('maglev', [backend(1), backend(2)]).length, 251);
  assert.equal(run('maglev', []).length, 0);
});
