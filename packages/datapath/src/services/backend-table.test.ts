import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fakeStore } from '../../testing/fake-store.ts';
import { backendStatsSize, decodeBackendStats, encodeBackendStats } from '../generated/abi.ts';
import { BackendTable } from './backend-table.ts';

const backend = { address: '10.0.0.1', port: 80, state: 'active', weight: 1 } as const;

describe('BackendTable', () => {
  it('its totals keep the counts of removed backends', () => {
    const { backends, backendStats } = fakeStore({ services: 10, backends: 10, slots: 10 });
    let now = 0n;
    const table = new BackendTable(backends, backendStats, () => now);
    const count = (id: number, connections: bigint, packets: bigint, bytes: bigint) => {
      const counted = { connections, active: 7, since: 0, packets, bytes };
      encodeBackendStats(counted, backendStats.first(id + 1), id * backendStatsSize);
    };
    const add = () => {
      const id = table.allocate()!;
      table.create(id, 1, 'TCP', backend);
      return id;
    };
    assert.deepEqual(table.totals(), { connections: 0, packets: 0, bytes: 0 });
    const [one, two] = [add(), add()];
    count(one, 1n, 10n, 2n ** 40n + 1n);
    count(two, 2n, 20n, 5n);
    const sum = { connections: 3, packets: 30, bytes: 2 ** 40 + 6 };
    assert.deepEqual(table.totals(), sum);
    table.remove(one);
    assert.deepEqual(table.totals(), sum);
    now = 10_000_000_000n;
    // Until all ids are taken, so that this one's is among them.
    for (let id = table.allocate(); id !== undefined; id = table.allocate()) {
      table.create(id, 1, 'TCP', backend);
      if (id === one) count(id, 4n, 4n, 4n);
    }
    assert.deepEqual(table.totals(), { connections: 7, packets: 34, bytes: 2 ** 40 + 10 });
  });
});

it('a new backend has the tick of its creation and empty counters', () => {
  const { backends, backendStats } = fakeStore({ services: 10, backends: 10, slots: 10 });
  const table = new BackendTable(backends, backendStats, () => 7n * 2n ** 30n + 5n);
  const id = table.allocate()!;
  const bytes = backendStats.first(id + 1);
  bytes.fill(0xff, id * backendStatsSize, (id + 1) * backendStatsSize);
  table.create(id, 1, 'TCP', backend);
  assert.deepEqual(decodeBackendStats(bytes, id * backendStatsSize), {
    ...{ connections: 0n, active: 0, since: 7 },
    ...{ packets: 0n, bytes: 0n },
  });
});
