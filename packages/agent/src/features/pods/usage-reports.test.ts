import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { UsageReports } from './usage-reports.ts';

describe('UsageReports', () => {
  const usage = (family: 'IPv4' | 'IPv6', used: number) => ({
    ...{ family, used, total: 10 },
    ranges: ['10.7.0.0/28'],
  });

  it('reports a family once when 80 % of its addresses are used', () => {
    const reports = new UsageReports();
    assert.deepEqual(reports.take([usage('IPv4', 7), usage('IPv6', 7)]), []);
    const [sentence, ...others] = reports.take([usage('IPv4', 8), usage('IPv6', 7)]);
    assert.match(sentence!, /^8 of 10 IPv4 addresses for pods are used, 80% of 10\.7\.0\.0\/28 \(/);
    assert.deepEqual(others, []);
    assert.deepEqual(reports.take([usage('IPv4', 9), usage('IPv6', 7)]), []);
    assert.equal(reports.take([usage('IPv4', 10), usage('IPv6', 9)]).length, 1);
  });

  it('reports it again only after many addresses were free', () => {
    const reports = new UsageReports();
    reports.take([usage('IPv4', 8)]);
    for (const used of [9, 8, 9]) assert.deepEqual(reports.take([usage('IPv4', used)]), []);
    reports.take([usage('IPv4', 7)]);
    assert.equal(reports.take([usage('IPv4', 8)]).length, 1);
  });
});
