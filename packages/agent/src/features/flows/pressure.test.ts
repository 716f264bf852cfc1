import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MemoryDatapath } from '../../../testing/parts.ts';
import { flowPressure } from './pressure.ts';

const nat = new MemoryDatapath().nat.status();
const towards = (backend: string, used: number) => ({
  ...{ protocol: 'TCP' as const, backend, backendPort: 80, source: '192.0.2.1', used },
});

describe('flowPressure', () => {
  it('returns nothing below 80 %', () => {
    const below = { ...nat, unanswered: 19, fullest: [towards('10.0.0.1', 799)] };
    assert.deepEqual(flowPressure(below), []);
  });

  it('names the backends towards which SNAT ports run out', () => {
    const fullest = [towards('10.0.0.1', 950), towards('fd00::1', 800), towards('10.0.0.2', 799)];
    const warnings = flowPressure({ ...nat, fullest });
    assert.equal(warnings.length, 2);
    assert.match(
      warnings[0]!,
      /^950 of 1000 ports of 192\.0\.2\.1 are taken towards TCP 10\.0\.0\.1:80, 95% \(widen snatPorts/,
    );
    assert.match(warnings[1]!, /towards TCP \[fd00::1\]:80, 80%/);
  });

  it('warns of a flood before flows of clients are evicted', () => {
    const [warning] = flowPressure({ ...nat, unanswered: 20 });
    assert.match(
      warning!,
      /^20 flows are unconfirmed, 80% of the 25 that may be, and new ones evict the oldest: a flood/,
    );
  });
});
