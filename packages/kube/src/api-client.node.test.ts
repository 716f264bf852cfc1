import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as httpServer, type RequestListener } from 'node:http';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { type TLSSocket, createServer as tlsServer } from 'node:tls';
import { decodeUtf8 } from '@heddle/sys';
import { CertificateAuthority } from '@heddle/sys/testing/certificates';
import {
  accessTo,
  authority,
  clientOf,
  hosts,
  platform,
  served,
  start,
  startHttps,
} from '../testing/https-server.ts';
import { ask } from '../testing/responses.ts';
import { CredentialFiles } from './credential-files.ts';
import { ConnectionError, KubeError, StatusError } from './errors.ts';

test('sequential requests use one connection', async (t) => {
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

test('concurrent requests have a connection each, and four idle ones are kept', async (t) => {
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

test('requests go to an IPv6 address, with a path prefix and a client certificate', async (t) => {
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

test('servers are tried in order, and a working one is kept', async (t) => {
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
    /^reach https:\/\/127\.0\.0\.1:1: connection refused \(.*\); reach https:.*not issued by a trusted authority.*does its certificate authority belong/,
  );
});

test('discovered endpoints are tried after the configured servers, with the name of the service', async (t) => {
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

test('a server that shuts down is left for the next one', async (t) => {
  const leaving = await startHttps(t, (_request, response) => response.writeHead(503).end());
  const staying = await startHttps(t, (_request, response) => response.end('staying'));
  const client = clientOf(t, accessTo([leaving.server, staying.server]));
  const { error } = await ask(client, '/');
  assert.ok(error instanceof StatusError && error.status === 503);
  assert.equal((await ask(client, '/')).text, 'staying');
});

test('refused credentials are renewed once, and new ones have a new connection', async (t) => {
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
      /get \/v1 from .*: status 401: Unauthorized \(the test: its credentials are not/,
    );
    assert.equal(tokens.length, Math.min(each.length, 2));
  }
});

test('the error of a response has its message, however long the response is', async (t) => {
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
    /^get \/ from https:\/\/127\.0\.0\.1:\d+: status 429: too many requests$/,
  );
  assert.deepEqual([status, text], [undefined, '']);
  assert.match((await ask(client, '/endless')).error!.message, /status 500: x{500}\.\.\.$/);
});

test('rotated certificates and tokens apply to the next request, and a watch continues', async (t) => {
  const folder = mkdtempSync(`${tmpdir()}/heddle-kube-`);
  t.after(() => rmSync(folder, { recursive: true }));
  const write = (ca: string, token: string, client: CertificateAuthority) => {
    const { cert, key } = client.issue({ name: 'heddle' });
    const files = { ca, token, cert, key };
    for (const [name, text] of Object.entries(files)) writeFileSync(`${folder}/${name}`, text);
  };
  const file = (name: string) => ({ file: `${folder}/${name}` });
  const materials = { ca: file('ca'), cert: file('cert'), key: file('key'), token: file('token') };
  const files = new CredentialFiles(platform, materials);

  const mutual = { requestCert: true, ca: authority.cert };
  const { server, http, counts } = await startHttps(
    t,
    (request, response) => {
      response.write(String(request.headers.authorization));
      if (request.url !== '/watch') response.end();
    },
    mutual,
  );
  write(authority.cert, 'one', authority);
  const client = clientOf(t, {
    ...accessTo(server),
    credentials: (_rejected, onReady) => files.give(onReady),
  });
  let watched = '';
  await new Promise<void>((resolve) => {
    client.get('/watch', {
      onHead() {},
      onBody(bytes) {
        watched += decodeUtf8(bytes);
        resolve();
      },
      onEnd: (error) => assert.fail(error ?? 'the watch ended'),
    });
  });
  assert.equal((await ask(client, '/')).text, 'Bearer one');
  write(authority.cert, 'two', authority);
  assert.equal((await ask(client, '/')).text, 'Bearer two');
  assert.equal(counts.connections, 3);

  // The server is by another authority now, and so must its clients be.
  const next = new CertificateAuthority('next');
  const { cert, key } = next.issue({ name: 'kube-apiserver', hosts });
  http.setSecureContext({ cert, key, ca: next.cert });
  // Requests with what was trusted before go on over the connection that there is.
  assert.equal((await ask(client, '/')).text, 'Bearer two');
  write(authority.cert, 'three', authority);
  assert.match((await ask(client, '/')).error!.message, /not issued by a trusted authority/);
  write(`${authority.cert}${next.cert}`, 'four', next);
  assert.equal((await ask(client, '/')).text, 'Bearer four');
  assert.equal(watched, 'Bearer one');
});

test('an idle connection that the server closed is replaced', async (t) => {
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

test('a response that breaks off anywhere is an error, and the next request succeeds', async (t) => {
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
      /^reach https:.*: it closed the connection (before|within) its response$/,
    );
  }
  assert.equal((await ask(client, '/')).text, 'body');
});

test('malformed bytes, surplus bytes and plain HTTP on a TLS port are errors', async (t) => {
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

test('disposal aborts a request: the connection ends and nothing is called', async (t) => {
  const { server, http } = await startHttps(
    t,
    (_request, response) => void response.write('first'),
  );
  const client = clientOf(t, accessTo(server));
  const calls: string[] = [];
  const closed = once(http, 'request').then(([request]) => once(request.socket, 'close'));
  await new Promise<void>((resolve) => {
    const request = client.get('/', {
      onHead: () => void calls.push('head'),
      onBody() {
        calls.push('body');
        request[Symbol.dispose]();
        resolve();
      },
      onEnd: () => void calls.push('end'),
    });
  });
  await closed;
  const early = client.get('/', {
    onHead: () => void calls.push('early'),
    onBody: () => void calls.push('early'),
    onEnd: () => void calls.push('early'),
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
  assert.deepEqual(calls, ['head', 'body']);
});

test('a request with a malformed path is refused before it is sent', async (t) => {
  const client = clientOf(t, accessTo({ host: '127.0.0.1', port: 1, isTls: true, path: '' }));
  for (const path of ['', 'x', '/a b', '/a\r\nX: y', '/é']) {
    assert.throws(() => client.get(path, { onHead() {}, onBody() {}, onEnd() {} }), KubeError);
  }
});
