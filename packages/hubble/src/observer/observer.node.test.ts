import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import fc from 'fast-check';
import { flowRecord, startTime, testNode, world } from '../../testing/flows.ts';
import { unixTransport } from '../../testing/transport.ts';
import { party } from '../flows/record.ts';
import { GetFlowsRequestSchema, Observer } from '../generated/observer/observer_pb.js';
import { ChangeNotificationType, Peer } from '../generated/peer/peer_pb.js';
import { NodeState } from '../generated/relay/relay_pb.js';
import { HealthState, observerHealthName } from '../server/health.ts';
import { RpcServer } from '../server/server.ts';
import { FlowObserver } from './observer.ts';
import { PeerList, peersOf } from './peers.ts';

interface Served {
  readonly observer: FlowObserver;
  readonly peers: PeerList;
  readonly path: string;
}

async function serve(t: TestContext, capacity = 1000, now = () => startTime): Promise<Served> {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-hubble-'));
  const path = join(folder, 'hubble.sock');
  const observer = new FlowObserver({
    ...{ node: testNode, version: 'heddle 1', capacity, now },
    ...{ address: '192.0.2.9:4244', tlsServerName: 'n1.test' },
  });
  const peers = new PeerList();
  const server = new RpcServer({
    services: [Observer, Peer],
    routes: (router) => {
      router.service(Observer, observer.service());
      router.service(Peer, peers.service());
    },
    health: new HealthState([observerHealthName]),
  });
  await server.listen({ unix: path });
  t.after(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });
  return { observer, peers, path };
}

test('a client gets the flows that match, and the state of the observer', async (t) => {
  let now = startTime;
  const { observer, path } = await serve(t, 1000, () => now);
  for (let port = 1; port <= 30; port++) {
    observer.add(flowRecord({ sourcePort: port, time: startTime + port * 1000 }));
  }
  now += 30_000;
  const client = createClient(Observer, unixTransport(t, path));
  const found = [];
  for await (const { responseTypes, nodeName } of client.getFlows({
    ...{ number: 2n, whitelist: [{ sourcePod: ['shop/'], destinationFqdn: ['*.example.org'] }] },
  })) {
    assert.ok(responseTypes.case === 'flow');
    found.push([nodeName, responseTypes.value.destinationNames, responseTypes.value.heddle?.bytes]);
  }
  assert.deepEqual(found, Array(2).fill(['n1', ['api.example.org'], 60n]));
  const status = await client.serverStatus({});
  assert.deepEqual(
    [status.numFlows, status.maxFlows, status.seenFlows, status.uptimeNs, status.version],
    [30n, 1000n, 30n, 30_000_000_000n, 'heddle 1'],
  );
  assert.equal(status.flowsRate, 1);
  const { nodes } = await client.getNodes({});
  assert.equal(nodes.length, 1);
  const { name, address, state, tls } = nodes[0]!;
  assert.deepEqual([name, address, state], ['n1', '192.0.2.9:4244', NodeState.NODE_CONNECTED]);
  assert.deepEqual([tls?.enabled, tls?.serverName], [true, 'n1.test']);
});

test('namespaces are those with flows within the last hour', async (t) => {
  let now = startTime;
  const { observer, path } = await serve(t, 1000, () => now);
  const pod = (namespace: string) => party({ namespace, clusterName: 'default' });
  for (const [namespace, minute] of [
    ['z', 0],
    ['a', 30],
    ['z', 50],
    ['old', 0],
  ] as const) {
    const time = startTime + minute * 60_000;
    observer.add(flowRecord({ time, sourceParty: pod(namespace), destinationParty: world }));
  }
  now += 70 * 60_000;
  const client = createClient(Observer, unixTransport(t, path));
  const { namespaces } = await client.getNamespaces({});
  assert.deepEqual(
    namespaces.map(({ cluster, namespace }) => `${cluster}/${namespace}`),
    ['default/a', 'default/z'],
  );
});

test('events that Heddle does not have are refused with what to use', async (t) => {
  const { path } = await serve(t);
  const client = createClient(Observer, unixTransport(t, path));
  for (const stream of [client.getAgentEvents({}), client.getDebugEvents({})]) {
    await assert.rejects(stream[Symbol.asyncIterator]().next(), (error) => {
      assert.ok(error instanceof ConnectError);
      assert.equal(error.code, Code.Unimplemented);
      assert.match(error.message, /Heddle reports no .* events; use GetFlows/);
      return true;
    });
  }
});

test('a client that does not read loses flows, and others lose none', async (t) => {
  const { observer, path } = await serve(t, 1000);
  // The stalled client sends its request and then reads nothing at all.
  const session = connectHttp2('http://localhost', { createConnection: () => connect(path) });
  t.after(() => session.destroy());
  const stalled = session.request({
    ...{ ':method': 'POST', ':path': '/observer.Observer/GetFlows' },
    ...{ 'content-type': 'application/grpc', te: 'trailers' },
  });
  const responds = new Promise((resolve) => stalled.once('response', resolve));
  const body = toBinary(GetFlowsRequestSchema, create(GetFlowsRequestSchema, { follow: true }));
  stalled.end(Buffer.concat([Buffer.of(0, 0, 0, 0, body.length), body]));
  // A first flow shows that both clients follow.
  const stop = new AbortController();
  const client = createClient(Observer, unixTransport(t, path));
  const stream = client.getFlows({ follow: true }, { signal: stop.signal })[Symbol.asyncIterator]();
  const probe = setInterval(() => observer.add(flowRecord({ sourcePort: 0 })), 1);
  const isFlow = (answer: Awaited<ReturnType<typeof stream.next>>) => {
    assert.equal(answer.value?.responseTypes.case, 'flow', 'the reading client has lost flows');
    return answer.value.responseTypes.value as {
      l4: { protocol: { value: { sourcePort: number } } };
    };
  };
  isFlow(await stream.next());
  await responds;
  clearInterval(probe);
  let count = 0;
  for (let batch = 0; batch < 40; batch++) {
    for (let i = 1; i <= 100; i++) observer.add(flowRecord({ sourcePort: i }));
    for (let last = 0; last < 100; ) {
      last = isFlow(await stream.next()).l4.protocol.value.sourcePort;
      if (last > 0) count++;
    }
  }
  assert.equal(count, 4000);
  stop.abort();
  // When the stalled client reads at last, it learns how much it has lost.
  let lost = 0;
  const chunks: Buffer[] = [];
  stalled.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    lost = Math.max(lost, lostIn(Buffer.concat(chunks)));
  });
  while (lost === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(lost >= 1000, `${lost} flows were reported as lost`);
});

/** Returns the number of lost flows in a stream of gRPC messages. */
function lostIn(stream: Buffer): number {
  for (let at = 0; at + 5 <= stream.length; ) {
    const length = stream.readUInt32BE(at + 1);
    const message = stream.subarray(at + 5, at + 5 + length);
    if (message.length < length) return 0;
    // The field lost_events has the number 3 and contains the field num_events_lost with the number 2.
    if (message[0] === (3 << 3) + 2) {
      let [count, shift, index] = [0, 0, message.indexOf(2 << 3, 2) + 1];
      for (;;) {
        const byte = message[index++]!;
        count += (byte & 0x7f) * 2 ** shift;
        shift += 7;
        if (byte < 0x80) return count;
      }
    }
    at += 5 + length;
  }
  return 0;
}

test('the observers of other nodes have the same port, and names as certificates have them', () => {
  const nodes = [
    { name: 'n1', addresses: ['192.0.2.1'] },
    { name: 'n2.rack', addresses: ['192.0.2.2', 'fd00::2'] },
    { name: 'n3', addresses: ['fd00::3'] },
    { name: 'n4', addresses: [] },
  ];
  const shared = { address: '192.0.2.1:4244', hasTls: false };
  assert.deepEqual(
    peersOf('n1', nodes, { ...shared, cluster: 'default' }).map(({ name, address }) => [
      name,
      address,
    ]),
    [
      ['n1', '192.0.2.1:4244'],
      ['n2.rack', '192.0.2.2:4244'],
      ['n3', '[fd00::3]:4244'],
    ],
  );
  const atPort = peersOf('n1', [{ name: 'n1', addresses: ['fd00::1'] }, ...nodes], {
    ...{ ...shared, address: ':4244', cluster: 'default' },
  });
  assert.equal(atPort[0]!.address, '[fd00::1]:4244', 'an address without host is that of the Node');
  assert.equal(
    peersOf('n9', nodes, { ...shared, address: ':4244', cluster: 'default' }).some(
      ({ name }) => name === 'n9',
    ),
    false,
  );
  const [, second] = peersOf('n1', nodes, { ...shared, cluster: 'berlin.de', hasTls: true });
  assert.equal(second!.name, 'berlin.de/n2.rack');
  assert.equal(second!.tlsServerName, 'n2-rack.berlin-de.hubble-grpc.cilium.io');
});

test('a relay gets all peers, then each change', async (t) => {
  const { peers, path } = await serve(t);
  const client = createClient(Peer, unixTransport(t, path));
  peers.set([
    { name: 'n1', address: 'a:1' },
    { name: 'n2', address: 'b:1', tlsServerName: 'x' },
  ]);
  const stop = new AbortController();
  const seen: string[] = [];
  for await (const { type, name, address, tls } of client.notify({}, { signal: stop.signal })) {
    seen.push(`${ChangeNotificationType[type]} ${name} ${address} ${tls?.serverName ?? 'no TLS'}`);
    if (seen.length === 2)
      peers.set([
        { name: 'n2', address: 'c:1' },
        { name: 'n3', address: 'd:1' },
      ]);
    if (seen.length === 5) break;
  }
  assert.deepEqual(seen, [
    ...['PEER_ADDED n1 a:1 no TLS', 'PEER_ADDED n2 b:1 x', 'PEER_DELETED n1 a:1 no TLS'],
    ...['PEER_UPDATED n2 c:1 no TLS', 'PEER_ADDED n3 d:1 no TLS'],
  ]);
});

test('random bytes in place of requests get an error, and the server goes on', async (t) => {
  const { observer, path } = await serve(t);
  observer.add(flowRecord());
  const session = connectHttp2('http://localhost', { createConnection: () => connect(path) });
  t.after(() => session.destroy());
  const methods = [
    'GetFlows',
    'GetNodes',
    'GetNamespaces',
    'ServerStatus',
    'GetAgentEvents',
    'None',
  ];
  const call = async (method: string, body: Uint8Array) => {
    const stream = session.request({
      ...{ ':method': 'POST', ':path': `/observer.Observer/${method}` },
      ...{ 'content-type': 'application/grpc', te: 'trailers' },
      // Random bytes may be a request that follows, which ends with its deadline only.
      'grpc-timeout': '200m',
    });
    stream.on('error', () => {});
    stream.resume();
    stream.end(body);
    await new Promise((resolve) => stream.once('close', resolve));
  };
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...methods),
      fc.uint8Array({ maxLength: 60 }),
      fc.constantFrom('whole', 'short', 'none', 'large'),
      async (method, bytes, frame) => {
        const length = { whole: bytes.length, short: bytes.length + 9, none: 0, large: 2 ** 31 }[
          frame
        ];
        const head = Buffer.alloc(5);
        head.writeUInt32BE(length, 1);
        await call(method, frame === 'none' ? bytes : Buffer.concat([head, bytes]));
      },
    ),
    // The first bytes are a request that follows.
    { numRuns: 300, examples: [['GetFlows', Uint8Array.of(3 << 3, 1), 'whole']] },
  );
  const client = createClient(Observer, unixTransport(t, path));
  assert.equal((await client.serverStatus({})).numFlows, 1n);
});
