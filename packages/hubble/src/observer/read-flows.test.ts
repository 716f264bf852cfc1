import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import fc from 'fast-check';
import { flowRecord, startTime, testNode } from '../../testing/flows.ts';
import { FlowRing } from '../flows/ring.ts';
import { RingSource } from '../flows/source.ts';
import { timestampOf } from '../flows/time.ts';
import { type Flow, LostEventSource } from '../generated/flow/flow_pb.js';
import { GetFlowsRequestSchema, type GetFlowsResponse } from '../generated/observer/observer_pb.js';
import { readFlows } from './read-flows.ts';

type Request = MessageInitShape<typeof GetFlowsRequestSchema>;

function read(ring: FlowRing, request: Request, signal = new AbortController().signal) {
  const message = create(GetFlowsRequestSchema, request);
  return readFlows(new RingSource(ring, testNode), testNode.name, message, signal);
}

/** A flow is known by its source port in these tests. */
function portOf({ responseTypes }: GetFlowsResponse): number | string {
  if (responseTypes.case === 'lostEvents') return `lost ${responseTypes.value.numEventsLost}`;
  assert.equal(responseTypes.case, 'flow');
  const protocol = (responseTypes.value as { l4: { protocol: { value: { sourcePort: number } } } })
    .l4.protocol;
  return protocol.value.sourcePort;
}

async function ports(ring: FlowRing, request: Request): Promise<(number | string)[]> {
  const answers: (number | string)[] = [];
  for await (const answer of read(ring, request)) answers.push(portOf(answer));
  return answers;
}

/** A ring with flows of the ports 1, 2, ... at one second each. */
function ringOf(count: number, capacity = 100): FlowRing {
  const ring = new FlowRing(capacity);
  for (let i = 1; i <= count; i++) add(ring, i);
  return ring;
}

function add(ring: FlowRing, port: number): void {
  ring.append(flowRecord({ sourcePort: port, time: startTime + port * 1000 }));
}

const at = (second: number) => timestampOf(startTime + second * 1000);
const only = (...sourcePort: number[]) => [{ sourcePort: sourcePort.map(String) }];

test('without a limit all flows are returned, the oldest first', async () => {
  assert.deepEqual(await ports(ringOf(4), {}), [1, 2, 3, 4]);
  assert.deepEqual(await ports(ringOf(0), {}), []);
  assert.deepEqual(await ports(ringOf(4), { number: 2n ** 64n - 1n }), [1, 2, 3, 4]);
});

test('a number means the latest flows that match, or the oldest with `first`', async () => {
  assert.deepEqual(await ports(ringOf(6), { number: 2n }), [5, 6]);
  assert.deepEqual(await ports(ringOf(6), { number: 2n, first: true }), [1, 2]);
  const whitelist = only(1, 3, 4);
  assert.deepEqual(await ports(ringOf(6), { number: 2n, whitelist }), [3, 4]);
  assert.deepEqual(await ports(ringOf(6), { number: 2n, first: true, whitelist }), [1, 3]);
  assert.deepEqual(await ports(ringOf(6), { number: 9n, blacklist: only(2) }), [1, 3, 4, 5, 6]);
});

test('times limit the flows, both ends included', async () => {
  assert.deepEqual(await ports(ringOf(6), { since: at(3) }), [3, 4, 5, 6]);
  assert.deepEqual(await ports(ringOf(6), { until: at(3) }), [1, 2, 3]);
  assert.deepEqual(await ports(ringOf(6), { since: at(2), until: at(4) }), [2, 3, 4]);
  assert.deepEqual(await ports(ringOf(6), { number: 1n, until: at(4) }), [4]);
  assert.deepEqual(await ports(ringOf(6), { number: 2n, since: at(2), first: true }), [2, 3]);
});

test('flows that enter a little late are found by time', async () => {
  const ring = new FlowRing(10);
  for (const port of [1, 4, 2, 3, 5]) add(ring, port);
  assert.deepEqual(await ports(ring, { since: at(3) }), [4, 3, 5]);
  assert.deepEqual(await ports(ring, { until: at(2) }), [1, 2]);
});

test('a follower gets what it asks for of the past, and then what comes', async () => {
  const ring = ringOf(3);
  const stop = new AbortController();
  const stream = read(ring, { follow: true, number: 1n, blacklist: only(5) }, stop.signal);
  assert.equal(portOf((await stream.next()).value), 3);
  const next = stream.next();
  add(ring, 4);
  assert.equal(portOf((await next).value), 4);
  add(ring, 5);
  add(ring, 6);
  assert.equal(portOf((await stream.next()).value), 6);
  const last = stream.next();
  stop.abort();
  assert.equal((await last).done, true);
});

test('a follower that asks for nothing of the past gets only what comes', async () => {
  const ring = ringOf(3);
  const stop = new AbortController();
  const stream = read(ring, { follow: true }, stop.signal);
  const next = stream.next();
  await new Promise((resolve) => setImmediate(resolve));
  add(ring, 4);
  assert.equal(portOf((await next).value), 4);
  stop.abort();
});

test('a reader that is overtaken learns how much it lost, and goes on', async () => {
  const ring = ringOf(4, 4);
  const stream = read(ring, {});
  assert.equal(portOf((await stream.next()).value), 1);
  for (let port = 5; port <= 10; port++) add(ring, port);
  const lost = (await stream.next()).value as GetFlowsResponse;
  assert.equal(portOf(lost), 'lost 5');
  assert.equal(lost.nodeName, 'n1');
  assert.ok(lost.responseTypes.case === 'lostEvents');
  assert.equal(lost.responseTypes.value.source, LostEventSource.HUBBLE_RING_BUFFER);
  // What came after the request is not part of the answer.
  assert.equal((await stream.next()).done, true);
});

test('a gap in the ring is reported at its place, whatever the filters are', async () => {
  const ring = ringOf(2);
  const source = LostEventSource.PERF_EVENT_RING_BUFFER;
  ring.appendLoss({ source, count: 9, first: startTime, last: startTime + 2500 });
  add(ring, 3);
  assert.deepEqual(await ports(ring, { whitelist: only(1, 3) }), [1, 'lost 9', 3]);
  assert.deepEqual(await ports(ring, { number: 1n }), [3]);
});

test('a field mask selects fields of the flow', async () => {
  const ring = ringOf(1);
  const paths = [
    'source.pod_name',
    'source.labels',
    'verdict',
    'l4.TCP.destination_port',
    'is_reply',
  ];
  const { value } = await read(ring, { fieldMask: { paths } }).next();
  const { responseTypes } = value as GetFlowsResponse;
  assert.ok(responseTypes.case === 'flow');
  const { source, verdict, l4, time, destination, isReply } = responseTypes.value;
  assert.deepEqual(
    [source?.podName, source?.labels, source?.namespace],
    ['cart-1', ['k8s:app=cart'], ''],
  );
  assert.deepEqual([verdict, time, destination, isReply], [1, undefined, undefined, false]);
  assert.ok(l4?.protocol.case === 'TCP');
  assert.deepEqual([l4.protocol.value.destinationPort, l4.protocol.value.sourcePort], [443, 0]);
  const whole = await read(ring, { fieldMask: { paths: ['source.pod_name', 'source'] } }).next();
  const flow = (whole.value as GetFlowsResponse).responseTypes.value as Flow;
  assert.equal(flow.source?.namespace, 'shop');
});

const refused: readonly [Request, RegExp][] = [
  [{ first: true, follow: true }, /first and follow exclude each other/],
  [{ whitelist: [{ sourcePort: ['x'] }] }, /filter source_port: "x" is not a port number/],
  [{ blacklist: [{ dnsQuery: ['('] }] }, /filter dns_query/],
  [{ fieldMask: { paths: ['nope'] } }, /field mask: "nope": flow.Flow has no field "nope"/],
  [{ fieldMask: { paths: ['source.nope'] } }, /"source.nope": flow.Endpoint has no field "nope"/],
  [{ fieldMask: { paths: ['verdict.x'] } }, /"verdict" has no fields/],
  [{ fieldMask: { paths: ['is_reply.value'] } }, /"is_reply" has no fields/],
  [{ fieldMask: { paths: [''] } }, /has no field ""/],
  [{ fieldMask: { paths: Array(501).fill('verdict') } }, /501 paths; at most 500/],
  [{ whitelist: Array(1001).fill({}) }, /filter whitelist: it has 1001 filters; at most 1000/],
];

for (const [request, message] of refused) {
  test(`a request is refused as invalid: ${message.source}`, async () => {
    await assert.rejects(read(ringOf(1), request).next(), (error) => {
      assert.ok(error instanceof ConnectError, String(error));
      assert.equal(error.code, Code.InvalidArgument);
      assert.match(error.message, message);
      return true;
    });
  });
}

test('random requests return what a naive model selects', async () => {
  const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
  const second = fc.integer({ min: 0, max: 14 });
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 12 }),
      fc.integer({ min: 1, max: 12 }),
      fc.record({
        number: optional(fc.integer({ min: 1, max: 5 })),
        first: fc.boolean(),
        since: optional(second),
        until: optional(second),
        allowed: optional(fc.subarray([1, 2, 3, 4, 5, 6, 7, 8, 9], { minLength: 1 })),
      }),
      async (count, capacity, { number, first, since, until, allowed }) => {
        const ring = ringOf(count, capacity);
        const all = Array.from({ length: count }, (_, index) => index + 1).slice(-capacity);
        const matching = all.filter(
          (port) =>
            (since === undefined || port >= since) &&
            (until === undefined || port <= until) &&
            (allowed?.includes(port) ?? true),
        );
        const expected =
          number === undefined
            ? matching
            : first
              ? matching.slice(0, number)
              : matching.slice(-number);
        const answer = await ports(ring, {
          ...{ first, number: BigInt(number ?? 0), whitelist: allowed ? only(...allowed) : [] },
          ...(since === undefined ? {} : { since: at(since) }),
          ...(until === undefined ? {} : { until: at(until) }),
        });
        assert.deepEqual(answer, expected);
      },
    ),
    { numRuns: 1000 },
  );
});
