import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as httpServer, type RequestListener } from 'node:http';
import { createServer as httpsServer } from 'node:https';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { type TLSSocket, createServer as tlsServer } from 'node:tls';
import { nodePlatform } from '@heddle/sys/node';
import { CertificateAuthority } from '../testing/certificates.ts';
import { ask } from '../testing/responses.ts';
import type { ClusterAccess, Credentials } from './access.ts';
import { ApiClient } from './api-client.ts';
import { ConnectionError, KubeError, StatusError } from './errors.ts';
import { parseProxy } from './proxy.ts';
import type { Server as ApiServer } from './server.ts';

const platform = nodePlatform(() => {});
const authority = new CertificateAuthority();
const hosts = ['127.0.0.1', '::1', 'localhost', 'kubernetes.default.svc'];
const served = authority.issue({ name: 'kube-apiserver', hosts });

/** Starts a server on a free port, which ends with the test, with all its connections. */
async function start(t: TestContext, server: Server, host = '127.0.0.1'): Promise<ApiServer> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
  });
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  server.listen(0, host);
  await once(server, 'listening');
  return { host, port: (server.address() as AddressInfo).port, isTls: true, path: '' };
}

interface AccessParts extends Partial<Omit<ClusterAccess, 'credentials'>> {
  /** In turn: the next one when the last was refused. */
  readonly credentials?: readonly Credentials[];
}

function accessTo(
  server: ApiServer | readonly ApiServer[],
  parts: AccessParts = {},
): ClusterAccess {
  const all = [...(parts.credentials ?? [{ ca: authority.cert }])];
  return {
    origin: 'the test',
    servers: [server].flat(),
    insecureSkipVerify: false,
    warnings: [],
    proxyFor: () => undefined,
    ...parts,
    credentials(rejected, onReady) {
      if (rejected === all[0] && all.length > 1) all.shift();
      onReady(all[0]!);
      return { [Symbol.dispose]() {} };
    },
  };
}

function clientOf(t: TestContext, access: ClusterAccess): ApiClient {
  const client = new ApiClient(platform, access);
  t.after(() => client[Symbol.dispose]());
  return client;
}

/** An HTTPS server that counts its connections. */
async function startHttps(t: TestContext, listener: RequestListener, options = {}, host?: string) {
  const server = httpsServer({ ...served, ...options }, listener);
  const counts = { connections: 0 };
  server.on('secureConnection', () => {
    counts.connections++;
  });
  return { server: await start(t, server, host), counts, http: server };
}

test('requests go out as they should, one after the other on one connection', async (t) => {
  const seen: object[] = [];
  const { server, counts } = await startHttps(t, (request, response) => {
    seen.push({ url: request.url, ...request.headers });
    if (request.url === '/a?b=c') response.end('{"with":"a length"}');
    else for (const part of ['in ', 'three ', 'chunks']) response.write(part);
    response.end();
  });
  const client = clientOf(
    t,
    accessTo(server, { credentials: [{ ca: authority.cert, token: 'abc' }] }),
  );
  const first = await ask(client, '/a?b=c');
  assert.deepEqual(
    [first.status, first.text, first.error],
    [200, '{"with":"a length"}', undefined],
  );
  const second = await ask(client, '/d');
  assert.deepEqual([second.status, second.text], [200, 'in three chunks']);
  const common = {
    host: `127.0.0.1:${server.port}`,
    'user-agent': 'heddle',
    accept: 'application/json',
    authorization: 'Bearer abc',
  };
  assert.deepEqual(seen, [
    { url: '/a?b=c', ...common },
    { url: '/d', ...common },
  ]);
  assert.equal(counts.connections, 1);
  assert.equal(client.server, `https://127.0.0.1:${server.port}`);
});

test('requests at the same time have connections of their own, and few are kept', async (t) => {
  const waiting: (() => void)[] = [];
  const { server, counts, http } = await startHttps(t, (_request, response) => {
    waiting.push(() => response.end('done'));
    if (waiting.length === 6) for (const answer of waiting) answer();
    if (waiting.length > 6) response.end('again');
  });
  const client = clientOf(t, accessTo(server));
  const answers = await Promise.all(Array.from({ length: 6 }, () => ask(client, '/')));
  assert.deepEqual(
    answers.map(({ text }) => text),
    Array(6).fill('done'),
  );
  assert.equal(counts.connections, 6);
  assert.equal((await ask(client, '/')).text, 'again');
  assert.equal(counts.connections, 6);
  client[Symbol.dispose]();
  http.closeIdleConnections();
  await new Promise((resolve) => http.close(resolve));
});

test('IPv6, a prefix before the path, a client certificate', async (t) => {
  const options = { requestCert: true, rejectUnauthorized: true, ca: authority.cert };
  const listener: RequestListener = (request, response) => {
    const { subject } = (request.socket as TLSSocket).getPeerCertificate();
    response.end(`${subject.CN} of ${subject.O} at ${request.headers.host}${request.url}`);
  };
  const { server } = await startHttps(t, listener, options, '::1');
  const own = authority.issue({ name: 'heddle', groups: ['agents'] });
  const credentials = [{ ca: authority.cert, ...own }];
  const client = clientOf(t, accessTo({ ...server, path: '/k8s' }, { credentials }));
  assert.equal((await ask(client, '/x')).text, `heddle of agents at [::1]:${server.port}/k8s/x`);

  const stranger = clientOf(t, accessTo(server));
  const { error } = await ask(stranger, '/x');
  assert.ok(error instanceof ConnectionError);
  assert.match(
    error.message,
    /^reach https:\/\/\[::1\]:\d+: .*certificate required.*the test: is a client certificate needed/i,
  );
});

test('servers are tried in turn, and who serves is kept', async (t) => {
  const dead = await start(t, createServer());
  const deaf = { ...dead, port: 1 };
  const { server, counts } = await startHttps(t, (_request, response) => response.end('here'));
  const stranger = await startHttps(
    t,
    () => assert.fail('asked'),
    new CertificateAuthority().issue({ name: 'x', hosts }),
  );
  const client = clientOf(t, accessTo([deaf, stranger.server, server]));
  assert.equal((await ask(client, '/')).text, 'here');
  assert.equal(client.server, `https://127.0.0.1:${server.port}`);
  assert.equal((await ask(client, '/')).text, 'here');
  assert.equal(counts.connections, 1);

  const { error } = await ask(clientOf(t, accessTo([deaf, stranger.server])), '/');
  assert.ok(error instanceof ConnectionError);
  assert.match(
    error.message,
    /^reach https:\/\/127\.0\.0\.1:1: connection refused \(.*\); reach https:.*not by a trusted authority .*does its certificate authority belong/,
  );
});

test('discovered endpoints are tried after the configured servers, by the service’s name', async (t) => {
  const names: unknown[] = [];
  const only = authority.issue({ name: 'x', hosts: ['kubernetes.default.svc'] });
  const { server } = await startHttps(
    t,
    (request, response) => {
      names.push((request.socket as TLSSocket & { servername: unknown }).servername);
      response.end('discovered');
    },
    only,
  );
  const client = clientOf(
    t,
    accessTo({ ...server, port: 1 }, { lastResort: { ...server, port: 2 } }),
  );
  assert.match((await ask(client, '/')).error!.message, /:1: .*:2: /);
  client.setDiscovered([server]);
  assert.equal((await ask(client, '/')).text, 'discovered');
  assert.deepEqual(names, ['kubernetes.default.svc']);
});

test('a server that is about to go is left for the next one', async (t) => {
  const leaving = await startHttps(t, (_request, response) => response.writeHead(503).end());
  const staying = await startHttps(t, (_request, response) => response.end('staying'));
  const client = clientOf(t, accessTo([leaving.server, staying.server]));
  const { error } = await ask(client, '/');
  assert.ok(error instanceof StatusError && error.status === 503);
  assert.equal((await ask(client, '/')).text, 'staying');
});

test('refused credentials are renewed once; others mean a new connection', async (t) => {
  const tokens: unknown[] = [];
  const { server, counts } = await startHttps(t, (request, response) => {
    tokens.push(request.headers.authorization);
    if (request.headers.authorization === 'Bearer new') response.end('welcome');
    else
      response
        .writeHead(401)
        .end('{"kind":"Status","message":"Unauthorized","reason":"Unauthorized"}');
  });
  const { cert: ca } = authority;
  const credentials = [
    { ca, token: 'old' },
    { ca, token: 'new' },
  ];
  const client = clientOf(t, accessTo(server, { credentials }));
  assert.equal((await ask(client, '/')).text, 'welcome');
  assert.deepEqual(tokens, ['Bearer old', 'Bearer new']);
  assert.equal(counts.connections, 2);
  assert.equal((await ask(client, '/')).text, 'welcome');
  assert.equal(counts.connections, 2);

  for (const each of [
    [{ ca, token: 'x' }],
    [
      { ca, token: 'x' },
      { ca, token: 'y' },
      { ca, token: 'new' },
    ],
  ]) {
    tokens.length = 0;
    const { error } = await ask(clientOf(t, accessTo(server, { credentials: each })), '/v1');
    assert.ok(error instanceof StatusError);
    assert.deepEqual([error.status, error.reason], [401, 'Unauthorized']);
    assert.match(
      error.message,
      /for \/v1: status 401: Unauthorized \(the test: its credentials are not/,
    );
    assert.equal(tokens.length, Math.min(each.length, 2));
  }
});

test('an answer that is no success gives its message, however long it is', async (t) => {
  const { server } = await startHttps(t, (request, response) => {
    if (request.url === '/endless') {
      response.writeHead(500);
      const more = () => {
        while (response.write('x'.repeat(50_000)));
      };
      response.on('drain', more);
      more();
    } else {
      response
        .writeHead(429, { 'retry-after': '2' })
        .end('{"message":"too many requests","reason":"TooManyRequests"}');
    }
  });
  const client = clientOf(t, accessTo(server));
  const { error, status, text } = await ask(client, '/?x=y');
  assert.ok(error instanceof StatusError);
  assert.deepEqual(
    [error.status, error.reason, error.retryAfterMs],
    [429, 'TooManyRequests', 2000],
  );
  assert.match(
    error.message,
    /^ask https:\/\/127\.0\.0\.1:\d+ for \/: status 429: too many requests$/,
  );
  assert.deepEqual([status, text], [undefined, '']);
  assert.match((await ask(client, '/endless')).error!.message, /status 500: x{500}\.\.\.$/);
});

test('a connection that the server gave up meanwhile is replaced unseen', async (t) => {
  let requests = 0;
  const server = await start(
    t,
    tlsServer(served, (socket) => {
      socket.on('error', () => {});
      socket.on('data', () => {
        // The second request on a connection finds it dead.
        if (requests++ === 1) socket.destroy();
        else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      });
    }),
  );
  const client = clientOf(t, accessTo(server));
  assert.equal((await ask(client, '/')).text, 'ok');
  assert.equal((await ask(client, '/')).text, 'ok');
  assert.equal(requests, 3);
});

test('an answer that breaks off is an error wherever it breaks, and the next request is served', async (t) => {
  const answer = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n';
  let length = 0;
  const server = await start(
    t,
    tlsServer(served, (socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.end(answer.slice(0, length)));
    }),
  );
  const client = clientOf(t, accessTo(server));
  for (length = 0; length < answer.length; length++) {
    const { error } = await ask(client, '/');
    assert.ok(error instanceof ConnectionError, `after ${length} bytes`);
    assert.match(
      error.message,
      /^reach https:.*: it closed the connection (before|in the middle of) its answer$/,
    );
  }
  assert.equal((await ask(client, '/')).text, 'body');
});

test('garbage, surplus bytes and plain HTTP on a TLS port end in words, not in a hang', async (t) => {
  let talk = (_socket: Socket) => {};
  const server = await start(
    t,
    tlsServer(served, (socket) => socket.once('data', () => talk(socket))),
  );
  const client = clientOf(t, accessTo(server));
  talk = (socket) => socket.write('\x15\x03\x01 garbage\r\n');
  assert.match((await ask(client, '/')).error!.message, /it sent control characters/);
  talk = (socket) =>
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\n');
  const surplus = await ask(client, '/');
  assert.deepEqual([surplus.text, surplus.error], ['a', undefined]);
  talk = (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb');
  assert.equal((await ask(client, '/')).text, 'b');
  const plain = await start(
    t,
    httpServer((_request, response) => response.end()),
  );
  assert.match(
    (await ask(clientOf(t, accessTo(plain)), '/')).error!.message,
    /is this a TLS port\?/,
  );
});

test('disposing aborts: the server sees the end, nothing more is heard', async (t) => {
  const { server, http } = await startHttps(
    t,
    (_request, response) => void response.write('first'),
  );
  const client = clientOf(t, accessTo(server));
  const heard: string[] = [];
  const closed = once(http, 'request').then(([request]) => once(request.socket, 'close'));
  await new Promise<void>((resolve) => {
    const request = client.get('/', {
      onHead: () => void heard.push('head'),
      onBody() {
        heard.push('body');
        request[Symbol.dispose]();
        resolve();
      },
      onEnd: () => void heard.push('end'),
    });
  });
  await closed;
  const early = client.get('/', {
    onHead: () => void heard.push('early'),
    onBody: () => void heard.push('early'),
    onEnd: () => void heard.push('early'),
  });
  early[Symbol.dispose]();
  const last = ask(client, '/');
  await once(http, 'request');
  client[Symbol.dispose]();
  const silence = await Promise.race([
    last,
    new Promise((resolve) => setImmediate(resolve, 'silence')),
  ]);
  assert.equal(silence, 'silence');
  assert.deepEqual(heard, ['head', 'body']);
});

test('a request for no path is refused before it is sent', async (t) => {
  const client = clientOf(t, accessTo({ host: '127.0.0.1', port: 1, isTls: true, path: '' }));
  for (const path of ['', 'x', '/a b', '/a\r\nX: y', '/é']) {
    assert.throws(() => client.get(path, { onHead() {}, onBody() {}, onEnd() {} }), KubeError);
  }
});

/** A proxy that is told what to answer, and tunnels after a 200. */
async function startProxy(
  t: TestContext,
  answer: (authorization: string | undefined) => string,
  secure?: typeof served,
) {
  const targets: string[] = [];
  const tunnel = (
    request: { url?: string; headers: { [name: string]: unknown } },
    socket: Socket,
  ) => {
    targets.push(request.url!);
    const reply = answer(request.headers['proxy-authorization'] as string | undefined);
    if (!reply.startsWith('HTTP/1.1 200')) {
      socket.end(reply);
      return;
    }
    const url = new URL(`http://${request.url}`);
    const onward = connect(Number(url.port), url.hostname.replace(/[[\]]/g, ''), () => {
      socket.write(reply);
      onward.pipe(socket).pipe(onward);
    });
    onward.on('error', () => socket.destroy());
    socket.on('error', () => onward.destroy());
    socket.on('close', () => onward.destroy());
  };
  const server = secure ? httpsServer(secure) : httpServer();
  server.on('connect', (request, socket) => tunnel(request, socket as Socket));
  return { server: await start(t, server), targets };
}

function proxyAccess(server: ApiServer, url: string): ClusterAccess {
  const proxy = parseProxy(url);
  assert.ok(typeof proxy !== 'string');
  return accessTo(server, { proxyFor: () => proxy });
}

test('a proxy is asked for a tunnel, with credentials if it wants some', async (t) => {
  const { server } = await startHttps(t, (_request, response) => response.end('through'));
  const ok = 'HTTP/1.1 200 Connection established\r\n\r\n';
  const proxy = await startProxy(t, (authorization) =>
    authorization === `Basic ${btoa('me:p@ss')}`
      ? ok
      : 'HTTP/1.1 407 Proxy Authentication Required\r\n\r\n',
  );
  const { port } = proxy.server;
  const client = clientOf(t, proxyAccess(server, `http://me:p%40ss@127.0.0.1:${port}`));
  assert.equal((await ask(client, '/')).text, 'through');
  assert.deepEqual(proxy.targets, [`127.0.0.1:${server.port}`]);

  const { error } = await ask(clientOf(t, proxyAccess(server, `http://127.0.0.1:${port}`)), '/');
  assert.ok(error instanceof ConnectionError);
  assert.match(
    error.message,
    /^reach https:\/\/127\.0\.0\.1:\d+ through the proxy http:\/\/127\.0\.0\.1:\d+: it refused to connect to 127\.0\.0\.1:\d+ with status 407 \(give user and password/,
  );
  const none = await ask(clientOf(t, proxyAccess(server, 'http://127.0.0.1:1')), '/');
  assert.match(
    none.error!.message,
    /through the proxy http:\/\/127\.0\.0\.1:1: connection refused/,
  );
});

test('a proxy that says more than it should is not believed', async (t) => {
  const { server } = await startHttps(t, () => assert.fail('asked'));
  const proxy = await startProxy(t, () => 'HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n');
  const client = clientOf(t, proxyAccess(server, `http://127.0.0.1:${proxy.server.port}`));
  assert.match((await ask(client, '/')).error!.message, /it sent more than it was asked for/);
});

test('a server behind an IPv6 address is reached through a proxy as well', async (t) => {
  const { server } = await startHttps(t, (_request, response) => response.end('six'), {}, '::1');
  const proxy = await startProxy(t, () => 'HTTP/1.1 200 OK\r\n\r\n');
  const client = clientOf(t, proxyAccess(server, `http://127.0.0.1:${proxy.server.port}`));
  assert.equal((await ask(client, '/')).text, 'six');
  assert.deepEqual(proxy.targets, [`[::1]:${server.port}`]);
});

test('the certificate of a proxy is checked', async (t) => {
  const { server } = await startHttps(t, () => assert.fail('asked'));
  const proxy = await startProxy(t, () => assert.fail('asked'), served);
  const client = clientOf(t, proxyAccess(server, `https://127.0.0.1:${proxy.server.port}`));
  assert.match(
    (await ask(client, '/')).error!.message,
    /not by a trusted authority .*the proxy: does its/,
  );
});
