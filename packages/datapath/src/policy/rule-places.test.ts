import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { anyPlaces, placesInOrder } from './rule-places.ts';

const region = { first: 64, end: 128 };
const everywhere = () => true;

test('rules with an order are placed in it, on free places, and keep their places if that is possible', () => {
  const change = fc.record({
    at: fc.nat(9),
    rules: fc.integer({ min: 1, max: 6 }),
    removes: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.array(change, { maxLength: 30 }),
      fc.uniqueArray(fc.integer({ min: 64, max: 127 }), { maxLength: 16 }),
      (changes, others) => {
        let policies: (number | undefined)[][] = [];
        const taken = new Set(others);
        for (const { at, rules, removes } of changes) {
          const where = Math.min(at, policies.length);
          if (removes) policies.splice(where, 1);
          else policies.splice(where, 0, new Array(rules).fill(undefined));
          const used = new Set([...taken, ...policies.flat()]);
          const places = placesInOrder(policies, region, (place) => !used.has(place));
          if (!places) {
            assert.ok(64 - used.size < policies.flat().length, 'there is no room');
            policies = policies.filter((each) => each.every((place) => place !== undefined));
            continue;
          }
          const old = policies.flat();
          assert.equal(places.length, old.length);
          for (const [i, place] of places.entries()) {
            assert.ok(place >= region.first && place < region.end);
            assert.ok(i === 0 || places[i - 1]! < place, 'the places ascend');
            assert.ok(place === old[i] || !used.has(place), 'the place is free');
          }
          policies = policies.map((each) => each.map(() => places.shift()!));
        }
      },
    ),
  );
});

test('a policy between two others gets a place in the gap between them, without a new place for these', () => {
  const first = placesInOrder([[undefined, undefined], [undefined]], region, everywhere)!;
  const used = new Set(first);
  const next = placesInOrder(
    [[first[0], first[1]], [undefined, undefined], [first[2]]],
    region,
    (place) => !used.has(place),
  )!;
  assert.deepEqual([next[0], next[1], next[4]], first);
});

test('rules that are not in the order of precedence get new places', () => {
  const places = placesInOrder([[100], [90]], region, (place) => place !== 100 && place !== 90)!;
  assert.ok(places[0]! < places[1]!);
});

test('rules without an order are neighbours if there is room for that, and anywhere otherwise', () => {
  assert.deepEqual(
    anyPlaces(3, region, (place) => place !== 65),
    [66, 67, 68],
  );
  assert.deepEqual(
    anyPlaces(2, region, (place) => [70, 90].includes(place)),
    [70, 90],
  );
  assert.equal(
    anyPlaces(3, region, (place) => [70, 90].includes(place)),
    undefined,
  );
});
