import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient, type ServiceImpl } from '@connectrpc/connect';
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from '@connectrpc/connect-node';
import { HealthState, PeerList, RpcServer, timestampOf } from '@heddle/hubble';
import {
  FlowSchema,
  type GetFlowsResponse,
  GetFlowsResponseSchema,
  NodeState,
  Observer,
  Peer,
} from '@heddle/hubble/messages';
import { makeCertificates, serverName, writeTlsFiles } from '@heddle/hubble/testing/certificates';
import { flowRecord, startTime } from '@heddle/hubble/testing/flows';
import type { ObserverFolder } from '../../testing/observers.ts';
import { connectPeers, serveRelay } from '../../testing/served-relay.ts';
import { followPeers } from '../peers/follow-peers.ts';
import { PeerPool } from '../peers/pool.ts';

/** Returns node, source port and time since the start of the flows among answers. */
function flows(answers: readonly GetFlowsResponse[]) {
  return answers.flatMap(({ nodeName, responseTypes, time }) => {
    if (responseTypes.case !== 'flow') return [];
    assert.equal(responseTypes.value.nodeName, nodeName);
    return [`${nodeName} ${Number(time!.seconds) - startTime / 1000}`];
  });
}

function states(answers: readonly GetFlowsResponse[]) {
  return answers.flatMap(({ responseTypes }) => {
    if (responseTypes.case !== 'nodeStatus') return [];
    const { stateChange, nodeNames, message } = responseTypes.value;
    return [`${NodeState[stateChange]} ${nodeNames.join(',')} ${message}`.trim()];
  });
}

async function all(stream: AsyncIterable<GetFlowsResponse>) {
  const answers: GetFlowsResponse[] = [];
  for await (const answer of stream) answers.push(answer);
  return answers;
}

/** Serves an Observer that does what it should not. */
async function serveFalse(
  folder: ObserverFolder,
  name: string,
  service: Partial<ServiceImpl<typeof Observer>>,
) {
  const server = new RpcServer({
    services: [Observer],
    routes: (router) => router.service(Observer, { serverStatus: () => ({}), ...service }),
    health: new HealthState([]),
  });
  const unix = folder.path(`${name}.sock`);
  await server.listen({ unix });
  return { peer: { name, address: `unix://${unix}` }, close: () => server.close() };
}

test('flows of all nodes come in the order of their times, as many as were asked for', async (t) => {
  const { folder, pool, client } = await serveRelay(t);
  const observers = [await folder.serve('n1'), await folder.serve('n2'), await folder.serve('n3')];
  for (let second = 0; second < 30; second++) {
    observers[second % 3]!.observer.add(flowRecord({ time: startTime + second * 1000 }));
  }
  await connectPeers(
    pool,
    observers.map(({ peer }) => peer),
  );
  const name = (second: number) => `n${(second % 3) + 1} ${second}`;
  const expected = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, index) => name(from + index));
  const answers = await all(client.getFlows({ number: 10n }));
  assert.deepEqual(states(answers), ['NODE_CONNECTED n1,n2,n3']);
  assert.deepEqual(flows(answers), expected(20, 30));
  assert.deepEqual(flows(await all(client.getFlows({ number: 7n, first: true }))), expected(0, 7));
  const since = timestampOf(startTime + 4000);
  const until = timestampOf(startTime + 8000);
  assert.deepEqual(flows(await all(client.getFlows({ since, until }))), expected(4, 9));
  assert.deepEqual(flows(await all(client.getFlows({}))), expected(0, 30));
});

test('the state of the relay is the sum of its nodes, and nodes and namespaces are listed', async (t) => {
  const { folder, pool, client } = await serveRelay(t);
  const [one, two] = [await folder.serve('n1'), await folder.serve('n2')];
  one.observer.add(flowRecord({ time: Date.now() }));
  two.observer.add(flowRecord({ time: Date.now() }));
  two.observer.add(flowRecord({ time: Date.now() }));
  const gone = { name: 'n9', address: `unix://${folder.path('none.sock')}` };
  await connectPeers(pool, [one.peer, two.peer, gone], 2);
  const status = await client.serverStatus({});
  assert.deepEqual(
    [status.numFlows, status.maxFlows, status.numConnectedNodes, status.numUnavailableNodes],
    [3n, 20_000n, 2, 1],
  );
  assert.deepEqual([status.unavailableNodes, status.version], [['n9'], 'relay 1']);
  const { nodes } = await client.getNodes({});
  assert.deepEqual(
    nodes.map((node) => [node.name, NodeState[node.state], node.numFlows]),
    [
      ['n1', 'NODE_CONNECTED', 1n],
      ['n2', 'NODE_CONNECTED', 2n],
      ['n9', 'NODE_UNAVAILABLE', 0n],
    ],
  );
  const { namespaces } = await client.getNamespaces({});
  assert.deepEqual(
    namespaces.map(({ cluster, namespace }) => [cluster, namespace]),
    [['default', 'shop']],
  );
  const answers = await all(client.getFlows({ number: 1n }));
  assert.deepEqual(states(answers), ['NODE_CONNECTED n1,n2', 'NODE_UNAVAILABLE n9']);
});

test('a client that follows gets flows of nodes that connect later, and learns of those that end', async (t) => {
  const { folder, pool, client } = await serveRelay(t);
  const one = await folder.serve('n1');
  await connectPeers(pool, [one.peer]);
  const stop = new AbortController();
  const seen = new Set<string>();
  const problems: string[] = [];
  const two = await folder.serve('n2');
  const timer = setInterval(() => {
    for (const { observer } of [one, two]) observer.add(flowRecord({ time: Date.now() }));
  }, 5);
  t.after(() => clearInterval(timer));
  for await (const answer of client.getFlows({ follow: true }, { signal: stop.signal })) {
    if (answer.responseTypes.case === 'flow') seen.add(answer.nodeName);
    problems.push(...states([answer]));
    if (seen.size === 1 && pool.connections.length === 1) pool.set([one.peer, two.peer]);
    if (seen.size === 2) await one.close();
    if (problems.length > 1) break;
  }
  assert.deepEqual([...seen], ['n1', 'n2']);
  assert.equal(problems[0], 'NODE_CONNECTED n1');
  assert.match(problems[1]!, /^NODE_ERROR n1 /);
});

test('a node that answers nothing and one that never ends keep no flows of others back', async (t) => {
  const { folder, pool, client } = await serveRelay(t, { waitMs: 2000, silenceMs: 4000 });
  const honest = await folder.serve('n1');
  for (let second = 0; second < 20; second++) {
    honest.observer.add(flowRecord({ time: startTime + second * 1000 }));
  }
  const stalled = await serveFalse(folder, 'n2', {
    async *getFlows(_request, { signal }) {
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    },
  });
  let sent = 0;
  const endless = await serveFalse(folder, 'n3', {
    async *getFlows() {
      for (;;) {
        sent++;
        const flow = create(FlowSchema, { nodeName: 'n1', time: timestampOf(startTime + 5000) });
        yield create(GetFlowsResponseSchema, {
          ...{ responseTypes: { case: 'flow', value: flow }, nodeName: 'n1', time: flow.time! },
        });
      }
    },
  });
  const unanswered = createServer(() => {}).listen(folder.path('n4.sock'));
  t.after(async () => {
    unanswered.close();
    await Promise.all([stalled.close(), endless.close()]);
  });
  const silent = { name: 'n4', address: `unix://${folder.path('n4.sock')}` };
  await connectPeers(pool, [honest.peer, stalled.peer, endless.peer, silent], 3);
  const answers = await all(client.getFlows({ number: 10n }));
  const expected = Array.from({ length: 10 }, (_, index) => `n1 ${index + 10}`);
  assert.deepEqual(flows(answers), expected);
  assert.deepEqual(states(answers).sort(), [
    'NODE_CONNECTED n1,n2,n3',
    'NODE_ERROR n2 it has sent nothing for 4 s',
    'NODE_ERROR n3 it has sent more flows than were asked for',
    'NODE_UNAVAILABLE n4',
  ]);
  // While a client follows and does not read, the endless peer waits.
  const stop = new AbortController();
  const stream = client.getFlows({ follow: true }, { signal: stop.signal })[Symbol.asyncIterator]();
  await stream.next();
  let before = -1;
  while (before !== sent) {
    before = sent;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  stop.abort();
  await assert.rejects(async () => {
    for (;;) await stream.next();
  }, ConnectError);
});

test('a message that is too large ends the stream of its node only', async (t) => {
  const { folder, pool, client } = await serveRelay(t);
  const honest = await folder.serve('n1');
  honest.observer.add(flowRecord());
  const large = await serveFalse(folder, 'n2', {
    async *getFlows() {
      const flow = create(FlowSchema, { Summary: 'x'.repeat(1 << 20) });
      yield create(GetFlowsResponseSchema, { responseTypes: { case: 'flow', value: flow } });
    },
  });
  t.after(() => large.close());
  await connectPeers(pool, [honest.peer, large.peer]);
  const answers = await all(client.getFlows({ number: 10n }));
  assert.deepEqual(flows(answers), ['n1 0']);
  assert.match(states(answers)[1]!, /^NODE_ERROR n2 .*larger than/);
});

test('a request that cannot be carried out is refused before any node is asked', async (t) => {
  const { client } = await serveRelay(t);
  const refused = all(client.getFlows({ whitelist: [{ sourcePort: ['http'] }] }));
  await assert.rejects(refused, (error) => {
    assert.ok(error instanceof ConnectError);
    assert.equal(error.code, Code.InvalidArgument);
    assert.match(error.message, /filter source_port: "http"/);
    return true;
  });
});

test('one port answers gRPC, gRPC-Web and Connect, over HTTP/1.1 and HTTP/2', async (t) => {
  const { folder, pool, port } = await serveRelay(t);
  const one = await folder.serve('n1');
  one.observer.add(flowRecord());
  await connectPeers(pool, [one.peer]);
  const baseUrl = `http://127.0.0.1:${port}`;
  const transports = [
    createGrpcTransport({ baseUrl }),
    createGrpcWebTransport({ baseUrl, httpVersion: '1.1' }),
    createGrpcWebTransport({ baseUrl, httpVersion: '2' }),
    createConnectTransport({ baseUrl, httpVersion: '1.1' }),
    createConnectTransport({ baseUrl, httpVersion: '2', useBinaryFormat: false }),
  ];
  for (const transport of transports) {
    const client = createClient(Observer, transport);
    assert.deepEqual(flows(await all(client.getFlows({ number: 1n }))), ['n1 0']);
    assert.equal((await client.serverStatus({})).numFlows, 1n);
  }
});

test('the peers of an observer are followed, also after it has been away', async (t) => {
  const { folder, pool } = await serveRelay(t);
  const [one, two] = [await folder.serve('n1'), await folder.serve('n2')];
  const list = new PeerList();
  const serveList = async () => {
    const server = new RpcServer({
      services: [Peer],
      routes: (router) => router.service(Peer, list.service()),
      health: new HealthState([]),
    });
    await server.listen({ unix: folder.path('peers.sock') });
    return server;
  };
  let server = await serveList();
  const stop = new AbortController();
  const problems: string[] = [];
  const following = followPeers(
    { place: { unix: folder.path('peers.sock') } },
    undefined,
    (peers) => pool.set(peers),
    (problem) => problems.push(problem),
    stop.signal,
  );
  t.after(async () => {
    stop.abort();
    await following;
    await server.close();
  });
  const names = () => pool.connected.map(({ peer }) => peer.name).join();
  const until = async (expected: string) => {
    while (names() !== expected) await pool.changed(AbortSignal.timeout(100));
  };
  list.set([one.peer]);
  await until('n1');
  list.set([one.peer, two.peer]);
  await until('n1,n2');
  await server.close();
  list.set([two.peer]);
  server = await serveList();
  await until('n2');
  assert.equal(problems.length, 2, problems.join());
  assert.equal(problems[1], '');
});

test('an observer with TLS is asked with the certificates of the relay, and one without is refused', async (t) => {
  const { folder } = await serveRelay(t);
  const made = makeCertificates();
  const files = writeTlsFiles(folder.path('.'), made);
  const server = new RpcServer({
    services: [Observer],
    routes: (router) => router.service(Observer, { serverStatus: () => ({ version: 'v1' }) }),
    health: new HealthState([]),
  });
  const port = await server.listen({ host: '127.0.0.1', port: 0, tls: files });
  const openPort = await server.listen({ host: '127.0.0.1', port: 0 });
  const { writeFileSync } = await import('node:fs');
  writeFileSync(folder.path('client.crt'), made.client.cert);
  writeFileSync(folder.path('client.key'), made.client.key);
  const tls = {
    authority: files.clientAuthority,
    ...{ certificate: folder.path('client.crt'), key: folder.path('client.key') },
  };
  const pool = new PeerPool({ tls, retryMs: [20, 100] });
  t.after(async () => {
    pool.close();
    await server.close();
  });
  const address = `127.0.0.1:${port}`;
  const peers = [
    { name: 'good', address, tlsServerName: serverName },
    { name: 'open', address: `127.0.0.1:${openPort}` },
    { name: 'other', address, tlsServerName: 'other.test' },
  ];
  pool.set(peers);
  const text = (name: string) => pool.connections.find(({ peer }) => peer.name === name)!.text;
  while (peers.some(({ name }) => text(name) === 'the relay connects')) {
    await pool.changed(AbortSignal.timeout(100));
  }
  assert.equal(text('good'), '');
  assert.match(text('open'), /no TLS, and the relay asks for it/);
  assert.match(text('other'), /altnames|certificate/);
});

test('a hundred observers are merged, and those that fail are named', async (t) => {
  const { folder, pool, client } = await serveRelay(t);
  const observers = [];
  for (let node = 0; node < 100; node++) observers.push(await folder.serve(`n${node}`, 100));
  for (let index = 0; index < 1000; index++) {
    observers[index % 100]!.observer.add(flowRecord({ time: startTime + index * 1000 }));
  }
  await connectPeers(
    pool,
    observers.map(({ peer }) => peer),
  );
  const answers = await all(client.getFlows({ number: 250n }));
  const expected = Array.from({ length: 250 }, (_, at) => `n${(at + 50) % 100} ${at + 750}`);
  assert.deepEqual(flows(answers), expected);
  assert.equal((await client.serverStatus({})).numConnectedNodes, 100);
});
