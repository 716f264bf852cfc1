import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { mapPressure } from './pressure.ts';

const map = (name: string, entries: number) => ({ name, entries, maxEntries: 1000 });

describe('mapPressure', () => {
  it('returns nothing below 80 %', () => {
    assert.deepEqual(mapPressure({ maps: [map('services', 799), map('nat_flows', 799)] }, {}), []);
  });

  it('names the map, and the remedy of its feature', () => {
    const maps = [map('slots', 800), map('source_ranges', 999)];
    assert.deepEqual(mapPressure({ maps }, { slots: 'raise sizes.slots' }), [
      'map slots has 800 of 1000 entries, 80% (raise sizes.slots)',
      'map source_ranges has 999 of 1000 entries, 99% (its size is fixed: have fewer of what it holds)',
    ]);
  });
});
