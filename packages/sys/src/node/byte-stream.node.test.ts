import assert from 'node:assert/strict';
import { lookup } from 'node:dns/promises';
import { EventEmitter, once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { TLSSocket, createServer as tlsServer } from 'node:tls';
import { CertificateAuthority } from '../../testing/certificates.ts';
import { LookupError, SysError, TlsError } from '../errors.ts';
import type { TlsOptions } from '../platform.ts';
import { decodeUtf8, encodeUtf8 } from '../utf8.ts';
import { openStream } from './byte-stream.ts';

const authority = new CertificateAuthority();
const certificate = authority.issue({ name: 'server', hosts: ['server.test', '127.0.0.1', '::1'] });

async function listening(t: TestContext, server: Server, host = '127.0.0.1'): Promise<Server> {
  t.after(() => server.close());
  server.listen(0, host);
  await once(server, 'listening');
  return server;
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

/** Returns a stream with promises for its events and the received text. */
function open(t: TestContext, port: number, host = '127.0.0.1') {
  const events = new EventEmitter();
  const opened = once(events, 'open');
  const closed = once(events, 'close');
  let text = '';
  const stream = openStream({
    host,
    port,
    onOpen: () => events.emit('open'),
    onData(bytes) {
      text += decodeUtf8(bytes);
      events.emit('data');
    },
    onClose: (error) => events.emit('close', error),
  });
  t.after(() => stream[Symbol.dispose]());
  return {
    stream,
    opened,
    closed: closed.then(([error]: unknown[]) => error as Error | undefined),
    async received(length: number): Promise<string> {
      while (text.length < length) await once(events, 'data');
      return text;
    },
    secured: (options: TlsOptions) =>
      new Promise<void>((resolve, reject) => {
        closed.then(([error]) => reject(error ?? new Error('closed')));
        stream.startTls(options, resolve);
      }),
  };
}

function echo(socket: Socket): void {
  socket.on('error', () => socket.destroy());
  socket.pipe(socket);
}

test('a byte stream carries bytes both ways, and its regular end has no error', async (t) => {
  for (const host of ['127.0.0.1', '::1']) {
    const server = await listening(t, createServer(echo), host);
    const client = open(t, portOf(server), host);
    await client.opened;
    client.stream.write(encodeUtf8('over plain TCP'));
    assert.equal(await client.received(14), 'over plain TCP');
    client.stream[Symbol.dispose]();
    server.close();
    await once(server, 'close');
  }
  const server = await listening(
    t,
    createServer((socket) => socket.end('bye')),
  );
  const client = open(t, portOf(server));
  assert.equal(await client.closed, undefined);
  assert.equal(await client.received(3), 'bye');
});

test('a silent connection has keepalive probes after 30 s', async (t) => {
  const server = await listening(t, createServer());
  const client = open(t, portOf(server));
  await client.opened;
  // Columns of proc_net_tcp(5): local and remote address, state, queues, timer:when in 1/100 s.
  const port = `:${portOf(server).toString(16).toUpperCase().padStart(4, '0')}`;
  const rows = readFileSync('/proc/self/net/tcp', 'utf8')
    .split('\n')
    .map((row) => row.trim().split(/\s+/));
  const row = rows.find(([, , remote]) => remote?.endsWith(port));
  const [timer, when] = row![5]!.split(':');
  assert.equal(timer, '02', 'the timer is for keep-alive');
  const seconds = Number.parseInt(when!, 16) / 100;
  assert.ok(seconds > 0 && seconds <= 31, String(seconds));
});

test('TLS starts after plain text, and within TLS', async (t) => {
  const names: (string | false | null)[] = [];
  const secure = (socket: Socket, then: (socket: TLSSocket) => void) => {
    const wrapped = new TLSSocket(socket, {
      isServer: true,
      cert: certificate.cert,
      key: certificate.key,
    });
    wrapped.on('error', () => socket.destroy());
    wrapped.once('secure', () => {
      names.push((wrapped as TLSSocket & { servername: string | false | null }).servername);
      then(wrapped);
    });
  };
  const server = await listening(
    t,
    createServer((socket) => {
      socket.once('data', (greeting) => {
        socket.pause();
        secure(socket, (outer) => {
          outer.once('data', (second) => {
            outer.write(`${greeting}${second}`, () => secure(outer, echo));
          });
        });
        socket.write('go');
      });
    }),
  );
  const client = open(t, portOf(server));
  await client.opened;
  client.stream.write(encodeUtf8('hello '));
  await client.received(2);
  await client.secured({ ca: authority.cert, serverName: 'server.test' });
  client.stream.write(encodeUtf8('secret'));
  assert.equal(await client.received(14), 'gohello secret');
  await client.secured({ ca: authority.cert });
  client.stream.write(encodeUtf8(' twice'));
  assert.equal(await client.received(20), 'gohello secret twice');
  assert.deepEqual(names, ['server.test', false], 'an address is never sent as a name');
});

test('TLS carries a large text completely', async (t) => {
  const text = 'abcdefghij'.repeat(300_000);
  const server = await listening(
    t,
    tlsServer(certificate, (socket) => socket.end(text)),
  );
  const client = open(t, portOf(server));
  await client.opened;
  await client.secured({ ca: authority.cert });
  assert.equal(await client.closed, undefined);
  assert.equal(await client.received(text.length), text);
});

test('a TlsError has the kind of the failure of a certificate', async (t) => {
  const other = new CertificateAuthority();
  const day = 86_400_000;
  const expired = authority.issue({
    name: 'server',
    hosts: ['127.0.0.1'],
    notBefore: new Date(Date.now() - 2 * day),
    notAfter: new Date(Date.now() - day),
  });
  const early = authority.issue({
    name: 'server',
    hosts: ['127.0.0.1'],
    notBefore: new Date(Date.now() + day),
    notAfter: new Date(Date.now() + 2 * day),
  });
  const tries = [
    [certificate, { ca: other.cert }, 'untrusted', /not issued by a trusted authority/],
    [certificate, {}, 'untrusted', /not issued by a trusted authority/],
    [certificate, { ca: authority.cert, serverName: 'else.test' }, 'name', /DNS:server\.test/],
    [
      certificate,
      { ca: authority.cert, serverName: '10.0.0.1' },
      'name',
      /IP Address:127\.0\.0\.1/,
    ],
    [expired, { ca: authority.cert }, 'time', /expired at/],
    [early, { ca: authority.cert }, 'time', /valid from/],
    [certificate, { ca: 'no PEM', cert: 'nor this' }, 'material', /use the certificates/],
    [
      certificate,
      {
        ca: authority.cert,
        ...authority.issue({ name: 'x' }),
        key: other.issue({ name: 'y' }).key,
      },
      'material',
      /mismatch/,
    ],
  ] as const;
  for (const [served, options, failure, message] of tries) {
    const server = await listening(t, tlsServer(served));
    const client = open(t, portOf(server));
    await client.opened;
    client.stream.startTls(options, () => assert.fail(`secure in spite of ${failure}`));
    const error = await client.closed;
    assert.ok(error instanceof TlsError, String(error));
    assert.equal(error.failure, failure);
    assert.match(error.message, message);
  }
  const server = await listening(t, tlsServer(expired, echo));
  const client = open(t, portOf(server));
  await client.opened;
  await client.secured({ insecureSkipVerify: true });
  client.stream.write(encodeUtf8('anyway'));
  assert.equal(await client.received(6), 'anyway');
});

test('a client certificate is sent, and its refusal is a failed handshake', async (t) => {
  const options = { ...certificate, ca: authority.cert, requestCert: true };
  const server = await listening(
    t,
    tlsServer({ ...options, rejectUnauthorized: true }, (socket) => {
      socket.end(String(socket.getPeerCertificate().subject.CN));
    }),
  );
  const client = open(t, portOf(server));
  await client.opened;
  await client.secured({ ca: authority.cert, ...authority.issue({ name: 'heddle' }) });
  assert.equal(await client.received(6), 'heddle');
  const stranger = open(t, portOf(server));
  await stranger.opened;
  stranger.stream.startTls({ ca: authority.cert }, () => {});
  const error = await stranger.closed;
  assert.ok(error instanceof TlsError && error.failure === 'handshake', String(error));
  assert.match(error.message, /speak TLS with 127\.0\.0\.1:\d+: .*certificate required/i);
});

test('a server without TLS, or one that closes the connection, fails the handshake', async (t) => {
  for (const talk of [
    (socket: Socket) => void socket.end('HTTP/1.0 400 Bad Request\r\n\r\n'),
    (socket: Socket) => void socket.once('data', () => socket.end()),
  ]) {
    const server = await listening(t, createServer(talk));
    const client = open(t, portOf(server));
    await client.opened;
    client.stream.startTls({ ca: authority.cert }, () => assert.fail('secure'));
    const error = await client.closed;
    assert.ok(error instanceof Error, String(error));
    assert.match(error.message, /127\.0\.0\.1/);
  }
});

test('a failed connection has its errno, and a failed lookup the code of the resolver', async (t) => {
  const server = await listening(t, createServer());
  const port = portOf(server);
  server.close();
  await once(server, 'close');
  const refused = await open(t, port).closed;
  assert.ok(refused instanceof SysError && refused.code === 'ECONNREFUSED', String(refused));
  assert.equal(refused.message, `connect 127.0.0.1:${port}: connection refused (ECONNREFUSED)`);
  const unknown = await open(t, 1, 'no such name').closed;
  assert.ok(unknown instanceof LookupError, String(unknown));
  assert.match(unknown.message, /^look up no such name: /);
});

test('a connection reset is an error', async (t) => {
  const server = await listening(
    t,
    createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.resetAndDestroy());
    }),
  );
  const client = open(t, portOf(server));
  await client.opened;
  client.stream.write(encodeUtf8('x'));
  const error = await client.closed;
  assert.ok(error instanceof SysError && error.code === 'ECONNRESET', String(error));
});

test('a disposed stream calls nothing and has closed its socket', async (t) => {
  const server = await listening(
    t,
    createServer((socket) => socket.write('unheard')),
  );
  const stream = openStream({
    host: '127.0.0.1',
    port: portOf(server),
    onOpen: () => assert.fail('open'),
    onData: () => assert.fail('data'),
    onClose: () => assert.fail('close'),
  });
  const accepted = once(server, 'connection');
  stream[Symbol.dispose]();
  stream[Symbol.dispose]();
  const second = open(t, portOf(server));
  await Promise.all([accepted, second.received(7)]);
  second.stream[Symbol.dispose]();
  server.close();
  await once(server, 'close');
});

test('all addresses of the host are reported before the connection is made', async (t) => {
  const server = await listening(t, createServer(echo));
  for (const host of ['127.0.0.1', 'localhost']) {
    const events: string[] = [];
    await new Promise<void>((resolve, reject) => {
      const stream = openStream({
        host,
        port: portOf(server),
        onAddresses: (addresses) => events.push(...addresses),
        onOpen() {
          events.push('open');
          resolve();
        },
        onData() {},
        onClose: (error) => reject(error ?? new Error('closed')),
      });
      t.after(() => stream[Symbol.dispose]());
    });
    assert.equal(events.pop(), 'open');
    assert.ok(events.includes('127.0.0.1'), host);
    const all = host === 'localhost' ? await lookup(host, { all: true }) : [{ address: host }];
    assert.deepEqual(events.sort(), all.map(({ address }) => address).sort());
  }
});
