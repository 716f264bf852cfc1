import assert from 'node:assert/strict';
import * as http from 'node:http';
import { test } from 'node:test';
import { eventually } from '@heddle/sys/testing/eventually';
import { ApiServer } from './api-server.ts';
import { startApiServerProcess } from './api-server-process.ts';
import { makeNode, makeService, makeSlice } from './cluster-objects.ts';

const services = '/api/v1/services';

// biome-ignore lint/suspicious/noExplicitAny: the tests look into JSON
type Json = any;

async function get(server: { url: string }, path: string): Promise<{ status: number; body: Json }> {
  const response = await fetch(server.url + path);
  return { status: response.status, body: await response.json() };
}

/** Lines of a watch, one by one. */
async function* watch(server: { url: string }, path: string): AsyncGenerator<Json> {
  const response = await fetch(`${server.url}${path}`);
  assert.equal(response.status, 200);
  let rest = '';
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop()!;
    for (const line of lines) yield JSON.parse(line);
  }
  assert.equal(rest, '');
}

async function take(events: AsyncGenerator<Json>, count: number): Promise<string[]> {
  const taken: string[] = [];
  while (taken.length < count) {
    const { value, done } = await events.next();
    if (done) break;
    taken.push(`${value.type} ${value.object.metadata?.name ?? value.object.code ?? ''}`.trim());
  }
  return taken;
}

function bytesUntilCut(url: string): Promise<number> {
  return new Promise((resolve, reject) => {
    let count = 0;
    http.get(url, (response) => {
      response.on('data', (bytes: Buffer) => {
        count += bytes.length;
      });
      response.on('error', () => resolve(count));
      response.on('end', () => reject(new Error('it ended in good order')));
    });
  });
}

function named(name: string, labels: Record<string, string> = {}) {
  return { ...makeService(1), metadata: { name, labels } };
}

test('the test server lists objects in the order of their keys, without kind and apiVersion', async () => {
  await using server = await ApiServer.start();
  server.set(makeService(51));
  server.set(makeService(1));
  server.set(makeSlice(1));
  const { status, body } = await get(server, services);
  assert.equal(status, 200);
  assert.equal(body.kind, 'ServiceList');
  assert.equal(body.metadata.resourceVersion, '1003');
  assert.deepEqual(
    body.items.map((item: Json) => [item.metadata.name, item.metadata.resourceVersion, item.kind]),
    [
      ['checkout-backend-00001', '1002', undefined],
      ['checkout-backend-00051', '1001', undefined],
    ],
  );
  assert.deepEqual(body.items[0].spec, makeService(1).spec);
  const slices = await get(server, '/apis/discovery.k8s.io/v1/namespaces/team-01/endpointslices');
  assert.equal(slices.body.items.length, 1);
});

test('pages of the test server have the state of the first page until the history is compacted', async () => {
  await using server = await ApiServer.start();
  for (const name of ['a', 'b', 'c', 'd']) server.set(named(name));
  const first = (await get(server, `${services}?limit=2`)).body;
  assert.equal(first.metadata.remainingItemCount, 2);
  server.remove('Service', 'default', 'c');
  const next = `${services}?limit=2&continue=${first.metadata.continue}`;
  const second = (await get(server, next)).body;
  assert.deepEqual(
    second.items.map((item: Json) => item.metadata.name),
    ['c', 'd'],
  );
  assert.equal(second.metadata.resourceVersion, first.metadata.resourceVersion);
  assert.equal(second.metadata.continue, undefined);
  server.compact();
  const gone = await get(server, next);
  assert.deepEqual([gone.status, gone.body.reason], [410, 'Expired']);
  const rest = await get(server, `${services}?limit=2&continue=${gone.body.metadata.continue}`);
  assert.deepEqual(
    rest.body.items.map((item: Json) => item.metadata.name),
    ['d'],
  );
});

test('a watch of the test server continues from a version, and an old one gets 410 in the stream', async () => {
  await using server = await ApiServer.start();
  const from = server.set(named('a'));
  server.set(named('b'));
  const events = watch(server, `${services}?watch=1&resourceVersion=${from}`);
  assert.deepEqual(await take(events, 1), ['ADDED b']);
  server.set(named('a'));
  server.remove('Service', 'default', 'b');
  assert.deepEqual(await take(events, 2), ['MODIFIED a', 'DELETED b']);
  server.compact();
  const late = watch(server, `${services}?watch=1&resourceVersion=${from}`);
  assert.deepEqual(await take(late, 2), ['ERROR 410']);
});

test('a streaming list of the test server ends with its bookmark', async () => {
  await using server = await ApiServer.start();
  server.set(named('a'));
  server.set(named('b'));
  const query = 'watch=1&sendInitialEvents=true&allowWatchBookmarks=true';
  const events = watch(server, `${services}?${query}&resourceVersionMatch=NotOlderThan`);
  assert.deepEqual(await take(events, 2), ['ADDED a', 'ADDED b']);
  const { object } = (await events.next()).value;
  assert.equal(object.metadata.annotations['k8s.io/initial-events-end'], 'true');
  assert.equal(object.metadata.resourceVersion, String(server.version));
  server.skipVersions(5);
  server.sendBookmarks();
  const second = (await events.next()).value.object.metadata;
  assert.deepEqual([second.resourceVersion, second.annotations], ['1007', undefined]);
  assert.equal((await get(server, `${services}?${query}`)).status, 422);
  await using old = await ApiServer.start({ features: { watchList: false } });
  const refused = await get(old, `${services}?${query}&resourceVersionMatch=NotOlderThan`);
  assert.deepEqual([refused.status, refused.body.reason], [422, 'Invalid']);
});

test('a watch of the test server from a future version is silent until then', async () => {
  await using server = await ApiServer.start();
  const from = server.set(named('a')) + 2;
  const events = watch(
    server,
    `${services}?watch=1&allowWatchBookmarks=true&resourceVersion=${from}`,
  );
  const first = take(events, 1);
  await eventually('a client watches', () => server.watching() > 0, { stepMs: 1 });
  server.sendBookmarks();
  assert.equal(server.set(named('b')), from - 1);
  assert.equal(server.set(named('c')), from);
  server.set(named('d'));
  assert.deepEqual(await first, ['ADDED d']);
  const query = `${services}?resourceVersion=9999&resourceVersionMatch=NotOlderThan`;
  const stream = watch(server, `${query}&watch=1&sendInitialEvents=true&allowWatchBookmarks=true`);
  assert.deepEqual(await take(stream, 2), ['ERROR 504']);
  const list = await fetch(server.url + query);
  assert.deepEqual([list.status, list.headers.get('retry-after')], [504, '1']);
});

test('selectors of the test server apply to lists and watches', async () => {
  await using server = await ApiServer.start();
  server.set(named('plain'));
  server.set(named('other', { proxy: 'x', tier: 'a' }));
  server.set(named('third', { tier: 'b' }));
  const names = async (query: string) =>
    (await get(server, `${services}?${query}`)).body.items.map((item: Json) => item.metadata.name);
  assert.deepEqual(await names('labelSelector=!proxy'), ['plain', 'third']);
  assert.deepEqual(await names('labelSelector=tier'), ['other', 'third']);
  assert.deepEqual(await names('labelSelector=tier+in+(a,c),proxy=x'), ['other']);
  assert.deepEqual(await names('labelSelector=tier+notin+(a)'), ['plain', 'third']);
  assert.deepEqual(await names('labelSelector=tier!=b'), ['other', 'plain']);
  assert.deepEqual(await names('fieldSelector=metadata.name%3Dthird'), ['third']);
  assert.equal((await get(server, `${services}?fieldSelector=spec.type%3Dx`)).status, 400);
  const from = server.version;
  const events = watch(server, `${services}?watch=1&labelSelector=!proxy&resourceVersion=${from}`);
  server.set(named('plain', { proxy: 'x' }));
  server.set(named('other', { proxy: 'y' }));
  server.set(named('other'));
  assert.deepEqual(await take(events, 2), ['DELETED plain', 'ADDED other']);
});

test('a scripted fault applies to its request only', async () => {
  await using server = await ApiServer.start();
  server.set(named('a'));
  server.script(
    { verb: 'list', kind: 'Service', skip: 1, status: 429, retryAfter: '3' },
    { verb: 'list', kind: 'Service', cutAfter: 40 },
  );
  assert.equal((await get(server, services)).status, 200, 'the first is let pass');
  const refused = await fetch(server.url + services);
  assert.deepEqual([refused.status, refused.headers.get('retry-after')], [429, '3']);
  assert.equal(await bytesUntilCut(server.url + services), 40);
  assert.equal((await get(server, services)).status, 200);
});

test('the test server accepts known tokens only', async () => {
  await using server = await ApiServer.start({ tokens: ['old'] });
  const status = async (token: string) =>
    (await fetch(server.url + services, { headers: { authorization: `Bearer ${token}` } })).status;
  assert.deepEqual([await status('old'), await status('new')], [200, 401]);
  server.setTokens(['new']);
  assert.deepEqual([await status('old'), await status('new')], [401, 200]);
});

test('the test server runs as a process, with realistic objects', async () => {
  await using server = await startApiServerProcess({ bookmarkMs: 1000 });
  await server.fill({ services: 200, nodes: ['worker-1'] });
  assert.equal(await server.set(makeNode('worker-1')), 1402);
  await assert.rejects(server.remove('Node', '', 'worker-9'), /no such object/);
  const lists = await Promise.all(
    [services, '/apis/discovery.k8s.io/v1/endpointslices', '/api/v1/nodes'].map(async (path) => {
      const text = await (await fetch(server.url + path)).text();
      return [JSON.parse(text).items.length, text.length] as const;
    }),
  );
  assert.deepEqual(
    lists.map(([count]) => count),
    [200, 200, 1],
  );
  const perService = (lists[0]![1] + lists[1]![1]) / 200;
  assert.ok(perService > 2800 && perService < 3600, `${perService} bytes`);
});
