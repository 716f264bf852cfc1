import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MemoryDatapath } from '../testing/parts.ts';
import { pressureWarnings } from './pressure.ts';

const healthy = new MemoryDatapath().status();
const { nat } = healthy;
const map = (name: string, entries: number) => ({ name, entries, maxEntries: 1000 });
const towards = (backend: string, used: number) => ({
  ...{ protocol: 'TCP' as const, backend, backendPort: 80, source: '192.0.2.1', used },
});

describe('warnings of pressure', () => {
  it('are silent below 80 %', () => {
    const maps = [map('services', 799), map('nat_flows', 799)];
    const below = { ...nat, unanswered: 19, fullest: [towards('10.0.0.1', 799)] };
    assert.deepEqual(pressureWarnings({ ...healthy, maps, nat: below }), []);
  });

  it('name the map, and the field to raise', () => {
    const maps = [map('slots', 800), map('nat_flows', 1000), map('source_ranges', 999)];
    assert.deepEqual(pressureWarnings({ ...healthy, maps }), [
      'map slots has 800 of 1000 entries, 80% (raise sizes.slots)',
      'map nat_flows has 1000 of 1000 entries, 100% (raise sizes.flows)',
      'map source_ranges has 999 of 1000 entries, 99% (its size is fixed: have fewer of what it holds)',
    ]);
  });

  it('name the backends towards which ports run out', () => {
    const fullest = [towards('10.0.0.1', 950), towards('fd00::1', 800), towards('10.0.0.2', 799)];
    const said = pressureWarnings({ ...healthy, nat: { ...nat, fullest } });
    assert.equal(said.length, 2);
    assert.match(
      said[0]!,
      /^950 of 1000 ports of 192\.0\.2\.1 are taken towards TCP 10\.0\.0\.1:80, 95% \(widen snatPorts/,
    );
    assert.match(said[1]!, /towards TCP \[fd00::1\]:80, 80%/);
  });

  it('tell of a flood before flows of clients give way', () => {
    const [said] = pressureWarnings({ ...healthy, nat: { ...nat, unanswered: 20 } });
    assert.match(
      said!,
      /^20 flows are unconfirmed, 80% of the 25 that may be, and new ones evict the oldest: a flood/,
    );
  });
});
