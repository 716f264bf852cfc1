import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIp } from '@heddle/sys';
import fc from 'fast-check';
import { flowRecord, shop, startTime, world } from '../../testing/flows.ts';
import { LostEventSource, TrafficDirection, Verdict } from '../generated/flow/flow_pb.js';
import { eventType, type FlowRecord, party } from './record.ts';
import { FlowRing, type Loss } from './ring.ts';

const address = fc
  .constantFrom('10.0.0.1', '192.0.2.7', 'fd00::1', '2001:db8::ff')
  .map((text) => parseIp(text)!);
const port = fc.constantFrom(0, 80, 65535);
const record: fc.Arbitrary<FlowRecord> = fc
  .record({
    time: fc.integer({ min: 0, max: 1e6 }).map((offset) => startTime + offset / 8),
    started: fc.constantFrom(0, startTime),
    source: address,
    destination: address,
    sourceTranslated: fc.option(address, { nil: undefined }),
    frontend: fc.option(address, { nil: undefined }),
    sourcePort: port,
    destinationPort: port,
    frontendPort: port,
    tcpFlags: fc.constantFrom(0, 0x1ff),
    protocol: fc.constantFrom(1, 6, 17, 255),
    verdict: fc.constantFrom(Verdict.FORWARDED, Verdict.DROPPED),
    dropReason: fc.constantFrom(0, 181, 255),
    direction: fc.constantFrom(TrafficDirection.INGRESS, TrafficDirection.EGRESS),
    isReply: fc.constantFrom(undefined, true, false),
    eventType: fc.constantFrom(eventType.drop, eventType.layer7),
    interfaceIndex: fc.constantFrom(0, 0xffffffff),
    bytes: fc.constantFrom(0, 2 ** 50),
    packets: fc.constantFrom(1, 2 ** 40),
    sourceParty: fc.constantFrom(shop, world, party({})),
    destinationParty: fc.constantFrom(shop, world),
  })
  .map(flowRecord);
const loss: fc.Arbitrary<Loss> = fc.record({
  source: fc.constantFrom(
    LostEventSource.PERF_EVENT_RING_BUFFER,
    LostEventSource.OBSERVER_EVENTS_QUEUE,
  ),
  count: fc.integer({ min: 1, max: 2 ** 40 }),
  first: fc.constant(startTime),
  last: fc.constant(startTime + 5),
});

/** Copies the views of a record, and leaves out what is undefined. */
function plain(flow: FlowRecord): object {
  return Object.fromEntries(
    Object.entries(flow)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [name, value instanceof Uint8Array ? [...value] : value]),
  );
}

test('a ring has the latest of the entries that were added, unchanged', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 8 }),
      fc.array(fc.oneof({ weight: 4, arbitrary: record }, loss), { maxLength: 30 }),
      (capacity, entries) => {
        const ring = new FlowRing(capacity);
        for (const entry of entries) {
          if ('count' in entry) ring.appendLoss(entry);
          else ring.append(entry);
        }
        const kept = entries.slice(-capacity);
        assert.equal(ring.next, entries.length);
        assert.equal(ring.oldest, entries.length - kept.length);
        const isFlow = (entry: FlowRecord | Loss) => !('count' in entry);
        assert.equal(ring.flows, kept.filter(isFlow).length);
        assert.equal(ring.seen, entries.filter(isFlow).length);
        for (const [offset, entry] of kept.entries()) {
          const number = ring.oldest + offset;
          if ('count' in entry) {
            assert.deepEqual(ring.lossAt(number), { ...entry });
            assert.equal(ring.timeAt(number), entry.last);
          } else {
            assert.equal(ring.lossAt(number), undefined);
            assert.deepEqual(plain(ring.flowAt(number)), plain(entry));
            assert.equal(ring.timeAt(number), entry.time);
          }
        }
      },
    ),
    { numRuns: 500 },
  );
});

test('an entry that is overwritten or not there yet has a clear error', () => {
  const ring = new FlowRing(2);
  for (let i = 0; i < 3; i++) ring.append(flowRecord());
  assert.throws(
    () => ring.flowAt(0),
    /^RangeError: flow ring: there is no entry 0; it has 1 to 2$/,
  );
  assert.throws(() => ring.timeAt(3), /there is no entry 3/);
  assert.throws(() => new FlowRing(0), /the capacity is 0; it must be 1 to 16777216/);
});

test('a party is released when its last flow is overwritten', () => {
  const ring = new FlowRing(1);
  ring.append(flowRecord({ sourceParty: party({ podName: 'old' }) }));
  ring.appendLoss({ source: 1, count: 1, first: 0, last: 0 });
  ring.append(flowRecord());
  assert.equal(ring.flowAt(1 + 1).sourceParty, shop);
});

test('several entries wake a waiting reader once', async () => {
  const ring = new FlowRing(8);
  const never = new AbortController();
  let isAwake = false;
  const waits = ring.changed(never.signal).then(() => {
    isAwake = true;
  });
  ring.append(flowRecord());
  ring.append(flowRecord());
  await Promise.resolve();
  assert.equal(isAwake, false);
  await waits;
  const aborted = ring.changed(never.signal);
  never.abort();
  await aborted;
  await ring.changed(never.signal);
});
