import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { firstOfAddress, placeFor, placesOf, probes } from './places.ts';

interface Entry {
  readonly key: number;
  live: boolean;
}

/** Looks a key up as find_local_pod() does. */
function search(table: ReadonlyMap<number, Entry>, candidates: readonly number[], key: number) {
  for (const place of candidates) {
    const entry = table.get(place);
    if (!entry) return undefined;
    if (entry.key === key) return entry.live ? place : undefined;
  }
  return undefined;
}

test('the programs find exactly the entries that are there, after any additions and removals', () => {
  const rule = { places: 16, step: 2 };
  const change = fc.record({ key: fc.nat(40), adds: fc.boolean() });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 200 }), (changes) => {
      const table = new Map<number, Entry>();
      const wanted = new Set<number>();
      for (const { key, adds } of changes) {
        const candidates = placesOf(key, rule);
        const place = placeFor(
          candidates,
          (at) => table.get(at)?.key === key,
          (at) => !table.get(at)?.live,
        );
        if (adds && place !== undefined) {
          table.set(place, { key, live: true });
          wanted.add(key);
        } else if (adds) {
          // No room: all candidates have other entries.
          assert.equal(candidates.filter((at) => table.get(at)?.live).length, probes);
        } else if (wanted.delete(key)) {
          table.get(place!)!.live = false;
        }
        for (let each = 0; each <= 40; each++) {
          const found = search(table, placesOf(each, rule), each);
          assert.equal(found !== undefined, wanted.has(each), `key ${each}`);
        }
      }
    }),
  );
});

test('ranges of both families with the same last bits find room beside each other', () => {
  const rule = { places: 4096, step: 2 };
  const address = (last: number) => {
    const bytes = new Uint8Array(16);
    new DataView(bytes.buffer).setUint32(12, last);
    return bytes;
  };
  const taken = new Set<number>();
  for (let last = 0; last < 2048; last++) {
    for (const isIpv4 of [true, false]) {
      const [first] = placesOf(firstOfAddress(address(last), isIpv4), rule);
      taken.add(first!);
    }
  }
  assert.equal(taken.size, 4096);
});

test('the places of the largest numbers are in the table', () => {
  assert.deepEqual(placesOf(2 ** 32 - 1, { places: 16, step: 2 }), [15, 1, 3, 5]);
  assert.deepEqual(placesOf(2 ** 31 - 2, { places: 16, step: 1 }), [14, 15, 0, 1]);
  assert.deepEqual(placesOf(7, { places: 1, step: 2 }), [0, 0, 0, 0]);
});
