import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CertificateAuthority } from '@heddle/sys/testing/certificates';
import fc from 'fast-check';
import { ApiServer, type ApiServerOptions } from '../testing/api-server.ts';
import { makeService, makeSlice } from '../testing/cluster-objects.ts';
import type { Fault } from '../testing/faults.ts';
import { FollowedServer } from '../testing/followed-server.ts';

// The client against a server that goes wrong as real ones do, over real sockets.

function thing(name: string, text = '', labels = {}) {
  return { kind: 'Service', metadata: { name, labels, annotations: { text } }, spec: {} };
}

const modes: readonly (readonly [string, ApiServerOptions['features']])[] = [
  ['streamed', { watchList: true }],
  ['in one piece', { watchList: false }],
  ['in pages', { watchList: false, cache: false }],
];

for (const [mode, features] of modes) {
  describe(`ListWatch with lists ${mode}`, () => {
    test('50,000 objects are reported in one call, over TLS', async () => {
      const authority = new CertificateAuthority();
      const tls = authority.issue({ name: 'server', hosts: ['127.0.0.1'] });
      await using server = await ApiServer.start({ tls, features: features! });
      for (let i = 0; i < 50_000; i++) server.set(thing(`thing-${i}`));
      using follower = new FollowedServer(server, { ca: authority.cert });
      await follower.until(() => follower.calls.length > 0, 'the list');
      assert.deepEqual(follower.calls, [50_000]);
      server.set(thing('thing-1', 'changed'));
      await follower.untilEqual('a change');
      assert.equal(follower.view.get('default/thing-1')!.text, 'changed');
    });

    test('after 410, the new list is one call with the differences', async () => {
      await using server = await ApiServer.start({ features: features! });
      for (let i = 0; i < 1200; i++) server.set(thing(`thing-${i}`));
      using follower = new FollowedServer(server, { timeScale: 0.01 });
      await follower.untilEqual('the list');
      await server.stop();
      for (let i = 0; i < 7; i++) server.remove('Service', 'default', `thing-${i}`);
      for (let i = 0; i < 5; i++) server.set(thing(`new-${i}`));
      server.compact();
      await server.resume();
      await follower.untilEqual('the new list');
      assert.deepEqual(follower.calls, [1200, 12]);
      const errors = follower.states.map(({ error }) => error ?? '');
      assert.ok(
        errors.some((error) => /too old resource version/.test(error)),
        errors.join('; '),
      );
    });
  });
}

for (const fault of [
  ...[403, 404, 405, 406, 410, 429, 500, 501, 503].flatMap((code): Fault[] => [
    { status: code },
    { errorEvent: code },
  ]),
  { cutAfter: 20 },
  { cutAfter: 1000 },
  { endAfter: 20 },
  { silentAfter: 20 },
  { isEndless: true },
] satisfies Fault[]) {
  test(`plain lists follow when each streaming list fails by ${JSON.stringify(fault)}`, async () => {
    await using server = await ApiServer.start({ bookmarkMs: 10 });
    server.script({ ...fault, verb: 'watch', isStreamingList: true, times: 1000 });
    for (let i = 0; i < 20; i++) server.set(thing(`thing-${i}`));
    using follower = new FollowedServer(server, { timeScale: 0.005 });
    await follower.untilEqual('the list');
    assert.equal(follower.calls[0], 20);
    server.set(thing('thing-1', 'changed'));
    await follower.untilEqual('a change');
    const streaming = server.takeRequests().filter(({ query }) => 'sendInitialEvents' in query);
    assert.ok(streaming.length <= 3, `${streaming.length} streaming lists`);
  });
}

test('several kinds of realistic objects are reported', async () => {
  await using server = await ApiServer.start();
  for (let i = 0; i < 300; i++) {
    server.set(makeService(i));
    server.set(makeSlice(i));
  }
  using services = new FollowedServer(server);
  using slices = new FollowedServer(server, { kind: 'EndpointSlice' });
  await services.untilEqual('services');
  await slices.untilEqual('slices');
  server.set(makeSlice(7, { generation: 1 }));
  await slices.untilEqual('the change');
  assert.equal(services.calls.length, 1);
});

test('a connection that is cut within an event loses no change', async () => {
  await using server = await ApiServer.start();
  server.set(thing('a'));
  using follower = new FollowedServer(server, { timeScale: 0.01 });
  await follower.untilEqual('the list');
  server.takeRequests();
  const text = 'ä "quoted" \\ and {"nested": [1]}';
  const length = 2 * Buffer.byteLength(JSON.stringify(thing('a', text))) + 200;
  for (let cut = 0; cut <= length; cut++) {
    // The watch that is resumed has the event to send, and is cut in it.
    server.script({ verb: 'watch', cutAfter: cut });
    server.cutConnections();
    server.set(thing('a', text + cut));
    await follower.untilEqual(`the event cut at ${cut}`);
    server.clearScript();
  }
  assert.equal(follower.view.get('default/a')!.text, text + length);
  assert.equal(follower.calls.length, length + 2, 'no change was reported twice');
  const kinds = new Set(server.takeRequests().map(({ query }) => 'sendInitialEvents' in query));
  assert.deepEqual([...kinds], [false], 'it never had to list anew');
});

test('a list that is cut anywhere is read again', async () => {
  await using server = await ApiServer.start({ features: { watchList: false } });
  for (const name of ['a', 'b']) server.set(thing(name, 'ä"\\'));
  const whole = await (await fetch(`${server.url}/api/v1/services`)).text();
  for (let cut = 0; cut < Buffer.byteLength(whole); cut += 5) {
    server.script({ verb: 'list', cutAfter: cut });
    using follower = new FollowedServer(server, { timeScale: 0.01 });
    await follower.untilEqual(`the list cut at ${cut}`);
    assert.deepEqual(follower.calls, [2]);
  }
});

test('repeated changes are reported once', async () => {
  await using server = await ApiServer.start();
  server.set(thing('a'));
  using follower = new FollowedServer(server, { timeScale: 0.01 });
  await follower.untilEqual('the list');
  for (const name of ['b', 'c']) {
    server.set(thing(name));
    server.remove('Service', 'default', name);
  }
  server.set(thing('a', 'again'));
  await follower.untilEqual('changes');
  const told = follower.changes.length;
  server.script({ verb: 'watch', replay: 10 });
  server.endWatches();
  server.set(thing('d'));
  await follower.untilEqual('one more change');
  assert.deepEqual(follower.changes.slice(told), ['default/d']);
});

test('ListWatch waits for Retry-After during a storm of 429', async () => {
  await using server = await ApiServer.start();
  server.set(thing('a'));
  server.script({ status: 429, retryAfter: '1', times: 12 });
  using follower = new FollowedServer(server, { timeScale: 0.02 });
  await follower.untilEqual('the end of the storm');
  const lists = server
    .takeRequests()
    .filter(({ verb, query }) => verb === 'list' || 'sendInitialEvents' in query);
  const times = lists.map(({ atMs }) => atMs);
  const gaps = times.slice(1).map((atMs, i) => atMs - times[i]!);
  assert.equal(times.length, 13);
  // A second is 20 ms here; clocks that tick in whole milliseconds may take one off.
  assert.ok(Math.min(...gaps) >= 19, gaps.join(' '));
});

test('an expired token is renewed, and nothing is reported twice', async () => {
  await using server = await ApiServer.start({ tokens: ['first'] });
  server.set(thing('a'));
  let token = 'first';
  using follower = new FollowedServer(server, { token: () => token, timeScale: 0.01 });
  await follower.untilEqual('the list');
  token = 'second';
  server.setTokens(['second']);
  server.set(thing('b'));
  server.endWatches();
  server.set(thing('c'));
  await follower.untilEqual('what came after');
  assert.deepEqual(follower.calls.slice(0, 1), [1]);
  const used = server.takeRequests().map((request) => request.token);
  assert.deepEqual(used, ['first', 'first', 'second']);
});

test('a replaced server certificate is accepted, an untrusted one refused', async () => {
  const authority = new CertificateAuthority();
  const hosts = ['127.0.0.1'];
  const tls = authority.issue({ name: 'server', hosts });
  await using server = await ApiServer.start({ tls });
  server.set(thing('a'));
  using follower = new FollowedServer(server, { ca: authority.cert, timeScale: 0.01 });
  await follower.untilEqual('the list');
  server.setTls(authority.issue({ name: 'renewed', hosts }));
  server.cutConnections();
  server.set(thing('b'));
  await follower.untilEqual('what came after the renewal');
  server.setTls(new CertificateAuthority().issue({ name: 'stranger', hosts }));
  server.cutConnections();
  server.set(thing('c'));
  await follower.until(() => follower.listWatch.state.phase === 'waiting', 'distrust');
  assert.match(follower.listWatch.state.error!, /certificate/);
  assert.equal(follower.view.size, 2);
  server.setTls(authority.issue({ name: 'server again', hosts }));
  await follower.untilEqual('what came after the stranger');
});

test('a server that is silent within an event is left', async () => {
  await using server = await ApiServer.start({ bookmarkMs: 100 });
  server.set(thing('a'));
  using follower = new FollowedServer(server, { timeScale: 0.005 });
  await follower.untilEqual('the list');
  server.script({ verb: 'watch', silentAfter: 100 });
  server.cutConnections();
  server.set(thing('b'));
  await follower.untilEqual('the change, on another connection');
  const errors = follower.states.map(({ error }) => error ?? '');
  assert.ok(!errors.some((error) => /list/.test(error)), errors.join('; '));
});

test('objects that stop matching a selector are deleted, and set when they match again', async () => {
  await using server = await ApiServer.start();
  server.set(thing('a'));
  server.set(thing('b', '', { hidden: 'yes' }));
  using follower = new FollowedServer(server, { labelSelector: '!hidden' });
  await follower.until(() => follower.view.has('default/a'), 'the list');
  assert.equal(follower.view.size, 1);
  server.remove('Service', 'default', 'b');
  server.set(thing('b'));
  await follower.untilEqual('b to appear');
});

test('after any sequence of faults, the reported objects are those of the server, without wrong deletions', async () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f');
  const bytes = fc.integer({ min: 0, max: 3000 });
  const fault: fc.Arbitrary<Fault> = fc.record(
    {
      verb: fc.constantFrom('list', 'watch'),
      skip: fc.integer({ min: 0, max: 2 }),
      times: fc.integer({ min: 1, max: 3 }),
      delayMs: fc.integer({ min: 0, max: 20 }),
      pieceBytes: fc.integer({ min: 1, max: 200 }),
      replay: fc.integer({ min: 1, max: 10 }),
      reverse: fc.boolean(),
    },
    { requiredKeys: ['verb'] },
  );
  const harm: fc.Arbitrary<Fault> = fc.oneof(
    fc.record({ status: fc.constantFrom(401, 403, 404, 410, 429, 500, 503) }),
    fc.record({ status: fc.constant(429), retryAfter: fc.constantFrom('0', '1', 'soon') }),
    fc.record({ cutAfter: bytes }),
    fc.record({ endAfter: bytes }),
    fc.record({ silentAfter: bytes }),
    fc.record({
      errorEvent: fc.constantFrom(403, 410, 429, 500),
      isStreamingList: fc.constant(true),
    }),
    fc.record({ isEndless: fc.constant(true) }),
    fc.record({
      garbage: fc.record({
        afterBytes: bytes,
        // None that is valid within a string: no reader can detect that a name has another letter.
        text: fc.constantFrom(
          '\n',
          '}\n',
          '\n{}\n',
          '"',
          '\u0000',
          '{"type":"ADDED","object":{}}\n',
        ),
      }),
    }),
    fc.constant({}),
  );
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('set' as const), name }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('remove' as const), name }) },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant('script' as const),
        fault: fc.tuple(fault, harm).map((parts): Fault => Object.assign({}, ...parts)),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constantFrom(
          'compact' as const,
          'endWatches' as const,
          'cutConnections' as const,
          'sendBookmarks' as const,
          'restart' as const,
          'skipVersions' as const,
        ),
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('rest' as const) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('settle' as const) }) },
  );
  const mode = fc.constantFrom(...modes.map(([, features]) => features!));
  await fc.assert(
    fc.asyncProperty(mode, fc.array(step, { minLength: 5, maxLength: 60 }), async (mode, steps) => {
      await using server = await ApiServer.start({ features: mode, bookmarkMs: 100 });
      const present = new Set<string>();
      let count = 0;
      const set = (name: string) => {
        server.set(thing(name, `${count++} ${'x'.repeat(count % 300)}`));
        present.add(name);
      };
      for (const name of ['a', 'b', 'always']) set(name);
      using follower = new FollowedServer(server, { timeScale: 0.005 });
      for (const each of steps) {
        if (each.do === 'set') set(each.name);
        else if (each.do === 'remove') {
          if (present.delete(each.name)) server.remove('Service', 'default', each.name);
        } else if (each.do === 'script') server.script(each.fault);
        else if (each.do === 'rest') await new Promise((resolve) => setTimeout(resolve, 5));
        else if (each.do === 'settle') await follower.untilEqual('the view to settle');
        else if (each.do === 'skipVersions') server.skipVersions(3);
        else if (each.do === 'restart') {
          await server.stop();
          await server.resume();
        } else server[each.do]();
      }
      server.clearScript();
      set('last');
      await follower.untilEqual('the view to be the server’s');
    }),
    { numRuns: 100, endOnFailure: true },
  );
});
