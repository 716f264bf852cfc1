import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeUtf8, encodeUtf8, LookupError, SysError, TlsError } from '@heddle/sys';
import fc from 'fast-check';
import { FakeNetwork } from '../testing/fake-network.ts';
import type { ClusterAccess } from './access.ts';
import { ApiClient } from './api-client.ts';
import { KubeconfigError } from './errors.ts';
import { parseProxy } from './proxy.ts';

const server = (host: string) => ({ host, port: 6443, isTls: true, path: '' });
const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

function world(parts: Partial<ClusterAccess> = {}) {
  const network = new FakeNetwork();
  const own = { ca: 'CA', token: 'abc' };
  const client = new ApiClient(network.platform, {
    origin: 'the test',
    servers: [server('10.0.0.5')],
    insecureSkipVerify: false,
    warnings: [],
    proxyFor: () => undefined,
    credentials(_rejected, onReady) {
      onReady(own);
      return { [Symbol.dispose]() {} };
    },
    ...parts,
  });
  /** Sends a request and returns the calls of its handlers. */
  const get = () => {
    const outcome = { words: [] as string[], request: undefined as Disposable | undefined };
    outcome.request = client.get('/api?watch=1', {
      onHead: (status) => void outcome.words.push(String(status)),
      onBody: (bytes) => void outcome.words.push(decodeUtf8(bytes)),
      onEnd: (error) => void outcome.words.push(error ? error.message : 'end'),
    });
    assert.deepEqual(outcome.words, [], 'nothing is called before get has returned');
    network.time.pass(0);
    return outcome;
  };
  return { network, client, get };
}

test('a request has its head, and connects to its server', () => {
  const { network, get } = world();
  const outcome = get();
  assert.equal(network.last.target, '10.0.0.5:6443');
  network.last.open();
  assert.equal(network.last.written(), '', 'nothing before TLS');
  const { ca, cert, key, serverName, insecureSkipVerify, ...rest } = network.last.tls[0]!;
  assert.deepEqual(
    [ca, cert, key, serverName, insecureSkipVerify],
    ['CA', undefined, undefined, undefined, false],
  );
  assert.deepEqual(rest, {}, 'the token is none of TLS’s business');
  network.last.secure();
  assert.equal(
    network.last.written(),
    'GET /api?watch=1 HTTP/1.1\r\nHost: 10.0.0.5:6443\r\nUser-Agent: heddle\r\n' +
      'Accept: application/json\r\nAuthorization: Bearer abc\r\n\r\n',
  );
  network.last.send(ok);
  assert.deepEqual(outcome.words, ['200', 'ok', 'end']);
});

test('a response in progress has no timer and ends with its connection', () => {
  const { network, get } = world();
  const outcome = get();
  network.last
    .open()
    .secure()
    .send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n');
  assert.equal(network.time.timersLeft, 0);
  network.last.close();
  assert.deepEqual(outcome.words.slice(0, 2), ['200', '{}']);
  assert.match(outcome.words[2]!, /closed the connection within its response/);
  assert.equal(network.time.timersLeft, 0);
});

test('a server that does not open in 10 s is skipped, one that does not respond in 65 s fails the request', () => {
  const { network, client, get } = world({ servers: [server('a'), server('b')] });
  const outcome = get();
  network.last.open();
  network.time.pass(10_000);
  assert.ok(network.streams[0]!.isDisposed);
  assert.equal(network.last.target, 'b:6443');
  network.last.open().secure();
  assert.equal(client.server, 'https://b:6443');
  network.time.pass(65_000);
  assert.deepEqual(outcome.words, ['get /api from https://b:6443: no response within 65 s']);
  assert.equal(client.server, 'https://a:6443');
  const second = get();
  network.time.pass(20_000);
  assert.deepEqual(second.words, [
    'reach https://a:6443: no response within 10 s; reach https://b:6443: no response within 10 s',
  ]);
  assert.ok(network.streams.every(({ isDisposed }) => isDisposed));
  assert.equal(network.time.timersLeft, 0);
});

test('a request that is disposed at any point leaves no timer or connection and calls nothing', () => {
  const steps: ((network: FakeNetwork) => void)[] = [
    ({ last }) => void last.open(),
    ({ last }) => void last.secure(),
    ({ last }) => void last.send(ok.slice(0, 10)),
    ({ last }) => void last.send(ok.slice(10, -1)),
  ];
  for (let count = 0; count <= steps.length; count++) {
    const { network, get } = world();
    const outcome = get();
    for (const step of steps.slice(0, count)) step(network);
    const before = [...outcome.words];
    outcome.request![Symbol.dispose]();
    outcome.request![Symbol.dispose]();
    assert.ok(network.last.isDisposed, `after ${count} steps`);
    assert.equal(network.time.timersLeft, 0);
    network.last.close();
    assert.deepEqual(outcome.words, before);
  }
});

test('the time limit of a server does not run while credentials are renewed', () => {
  let renew: Parameters<ClusterAccess['credentials']>[1] | undefined;
  let isStopped = false;
  const { network, get } = world({
    credentials(rejected, onReady) {
      if (rejected) renew = onReady;
      else onReady({ token: 'old' });
      return {
        [Symbol.dispose]() {
          isStopped = rejected !== undefined;
        },
      };
    },
  });
  const outcome = get();
  const refusal = 'HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n';
  network.last.open().secure().send(refusal);
  network.time.pass(100_000);
  assert.deepEqual([outcome.words, network.last.isDisposed], [[], true]);
  renew!({ token: 'new' });
  assert.match(network.last.open().secure().written(), /Authorization: Bearer new\r\n/);
  network.last.send(ok);
  assert.deepEqual(outcome.words, ['200', 'ok', 'end']);

  const second = get();
  network.last.open().secure().send(refusal);
  second.request![Symbol.dispose]();
  assert.deepEqual([isStopped, second.words], [true, []]);
});

test('disposal of a client closes idle connections', () => {
  const { network, client, get } = world();
  get();
  network.last.open().secure().send(ok);
  assert.ok(!network.last.isDisposed);
  client[Symbol.dispose]();
  assert.ok(network.last.isDisposed);
});

test('an idle connection that receives bytes is not used again', () => {
  const { network, get } = world();
  get();
  network.last.open().secure().send(ok);
  network.last.send('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil');
  assert.ok(network.last.isDisposed);
  const outcome = get();
  assert.equal(network.streams.length, 2);
  network.last.open().secure().send(ok);
  assert.deepEqual(outcome.words, ['200', 'ok', 'end']);
});

test('a request from onEnd of another one uses its connection', () => {
  const { network, client } = world();
  const words: string[] = [];
  const handlers = (then?: () => void) => ({
    onHead() {},
    onBody: (bytes: Uint8Array) => void words.push(decodeUtf8(bytes)),
    onEnd: (error?: Error) => (error ? words.push(error.message) : then?.()),
  });
  client.get(
    '/1',
    handlers(() => client.get('/2', handlers())),
  );
  network.time.pass(0);
  network.last.open().secure().send(ok);
  network.time.pass(0);
  network.last.send(ok);
  assert.deepEqual([words, network.streams.length], [['ok', 'ok'], 1]);
});

test('an error has the server, the reason and a remedy', () => {
  const cases: [Error | undefined, RegExp][] = [
    [
      new SysError('connect', 111),
      /^reach https:\/\/10\.0\.0\.5:6443: connection refused \(does the server run there/,
    ],
    [new SysError('connect', 113), /: no route to host \(EHOSTUNREACH\); check the routes/],
    [new SysError('connect', 110), /no answer \(is the address right\? does a firewall/],
    [
      new SysError('connect', 1),
      /: operation not permitted \(EPERM\); check the packet filter of this node$/,
    ],
    [new SysError('read', 104), /the connection was reset \(/],
    [new SysError('connect', 98), /6443: address already in use \(EADDRINUSE\)$/],
    [
      new LookupError('api.example', 'ENOTFOUND'),
      /look up api\.example: no such name \(is the name right/,
    ],
    [new TlsError('untrusted', 'speak TLS: x'), /x \(the test: does its certificate authority/],
    [new TlsError('name', 'speak TLS: x'), /x \(use one of these names, or set tls-server-name/],
    [new TlsError('time', 'speak TLS: x'), /x \(renew .*clock of this node\)/],
    [new TlsError('material', 'use x'), /x \(the test: certificates and keys must be PEM/],
    [new TlsError('handshake', 'speak TLS: x'), /x \(the test: is a client certificate needed/],
    [undefined, /the connection was closed before it could be used$/],
  ];
  for (const [error, expected] of cases) {
    const { network, get } = world();
    const outcome = get();
    network.last.close(error);
    assert.match(outcome.words.join('|'), expected);
  }
  const problem = new KubeconfigError('get credentials: x');
  const failing = world({
    credentials(_rejected, onReady) {
      onReady(problem);
      return { [Symbol.dispose]() {} };
    },
  });
  assert.deepEqual(failing.get().words, ['get credentials: x']);
  const proxy = () => {
    throw new KubeconfigError('use the proxy: y');
  };
  assert.deepEqual(world({ proxyFor: proxy }).get().words, ['use the proxy: y']);
});

test('the time limit includes the proxy, and errors name it', () => {
  const proxy = parseProxy('http://proxy.example:3128');
  assert.ok(typeof proxy !== 'string');
  const { network, get } = world({ proxyFor: () => proxy });
  const outcome = get();
  assert.equal(network.last.target, 'proxy.example:3128');
  network.last.open();
  assert.equal(
    network.last.written(),
    'CONNECT 10.0.0.5:6443 HTTP/1.1\r\nHost: 10.0.0.5:6443\r\nUser-Agent: heddle\r\n\r\n',
  );
  network.last.send('HTTP/1.1 200 OK\r\n');
  network.time.pass(10_000);
  assert.deepEqual(outcome.words, [
    'reach https://10.0.0.5:6443 through the proxy http://proxy.example:3128: no response within 10 s',
  ]);
});

test('after any bytes in any pieces, a request ends once and leaves no timer or connection', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      ok,
      'HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
      '2\r\n{}\r\n',
      '0\r\n\r\n',
      '\r\n',
    ),
    fc.string({ maxLength: 5 }),
  );
  const proxy = parseProxy('http://p:1');
  assert.ok(typeof proxy !== 'string');
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 6 }),
      fc.nat(30),
      fc.boolean(),
      (pieces, size, hasProxy) => {
        const { network, client, get } = world({ proxyFor: () => (hasProxy ? proxy : undefined) });
        const outcome = get();
        network.last.open();
        const bytes = encodeUtf8(pieces.join(''));
        for (let at = 0; at < bytes.length; at += size + 1) {
          const { last } = network;
          if (last.tls.length > 0) last.secure();
          last.send(bytes.slice(at, at + size + 1));
        }
        for (const stream of network.streams) stream.close();
        network.time.pass(200_000);
        assert.equal(
          outcome.words.filter((word) => /^end$|^reach |^get /.test(word)).length,
          1,
          outcome.words.join('|'),
        );
        client[Symbol.dispose]();
        assert.ok(network.streams.every(({ isDisposed }) => isDisposed));
        assert.equal(network.time.timersLeft, 0);
      },
    ),
    { numRuns: 200 },
  );
});
