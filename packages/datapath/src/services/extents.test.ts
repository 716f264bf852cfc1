import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Extents, graceNs } from './extents.ts';

test('Extents allocates a released extent again only after the grace period', () => {
  let now = 0n;
  const extents = new Extents(4, () => now);
  assert.equal(extents.allocate(4), 0);
  extents.release(0, 4);
  assert.equal(extents.used, 0);
  assert.equal(extents.allocate(1), undefined);
  now += graceNs;
  assert.equal(extents.allocate(4), 0);
});

test('Extents does not allocate a reserved extent, nor reserve it twice', () => {
  const extents = new Extents(10, () => 0n);
  assert.equal(extents.reserve(2, 3), true);
  assert.equal(extents.reserve(4, 2), false);
  assert.equal(extents.allocate(3), 5);
  assert.equal(extents.allocate(2), 0);
});

test('Extents never overlap, and are whole again when all are released', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -5, max: 8 }), { maxLength: 60 }), (steps) => {
      let now = 0n;
      const extents = new Extents(64, () => now);
      const held: { start: number; length: number }[] = [];
      const taken = new Set<number>();
      for (const step of steps) {
        now += graceNs / 2n;
        if (step > 0) {
          const start = extents.allocate(step);
          if (start === undefined) continue;
          held.push({ start, length: step });
          for (let i = start; i < start + step; i++) {
            assert.ok(i < 64 && !taken.has(i));
            taken.add(i);
          }
        } else {
          const [gone] = held.splice(-step % (held.length || 1), 1);
          if (!gone) continue;
          extents.release(gone.start, gone.length);
          for (let i = gone.start; i < gone.start + gone.length; i++) taken.delete(i);
        }
        assert.equal(extents.used, taken.size);
      }
      for (const { start, length } of held) extents.release(start, length);
      now += graceNs;
      assert.equal(extents.allocate(64), 0);
    }),
    { numRuns: 100 },
  );
});
