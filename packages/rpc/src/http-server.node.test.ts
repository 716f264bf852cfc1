import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { Agent, get as httpGet } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { nodePlatform } from '@heddle/sys/node';
import { eventually } from '@heddle/sys/testing/eventually';
import { textResponse } from './http.ts';
import { HttpServer, type HttpServerOptions } from './http-server.ts';
import { defaultLimits } from './stream-protocol.ts';

const logged: string[] = [];
const platform = nodePlatform((level, message) => logged.push(`${level} ${message}`));
const large = 'm'.repeat(300_000);

let server: HttpServer | undefined;
const sockets: Socket[] = [];

function serve(options: Partial<HttpServerOptions> = {}): HttpServer {
  server = new HttpServer(platform, {
    name: 'health',
    address: '127.0.0.1:0',
    handler(path) {
      if (path === '/broken') throw new Error('look up x: it broke');
      if (path === '/large') return textResponse(200, large);
      return path === '/healthz' ? textResponse(200, 'fine') : undefined;
    },
    ...options,
  });
  return server;
}

function client(port = server!.port, host = '127.0.0.1') {
  const socket = connect({ port, host, allowHalfOpen: true });
  socket.on('error', () => {});
  sockets.push(socket);
  return socket;
}

/** Returns all that the server sends until it closes, or until `enough` holds. */
function received(
  socket: Socket,
  enough: (text: string) => boolean = () => false,
): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const take = (data: Uint8Array) => {
      text += data.toString();
      if (!enough(text)) return;
      socket.off('data', take);
      resolve(text);
    };
    socket.on('data', take);
    socket.on('end', () => resolve(text));
    socket.on('close', () => resolve(text));
  });
}

const get = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nHost: n\r\n${more}\r\n`;
const last = (path: string) => get(path, 'Connection: close\r\n');

describe('HttpServer', { timeout: 30_000 }, () => {
  beforeEach(() => {
    logged.length = 0;
  });
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
    server?.[Symbol.dispose]();
    server = undefined;
  });

  it('answers several requests of a Node.js client on one connection', async () => {
    serve();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const ask = (path: string, method = 'GET') =>
      new Promise<string>((resolve, reject) => {
        const options = { port: server!.port, host: '127.0.0.1', path, agent, method };
        const request = httpGet(options, (response) => {
          let text = `${response.statusCode} `;
          response.on('data', (data) => {
            text += data;
          });
          response.on('end', () => resolve(text));
        });
        request.on('error', reject);
      });
    try {
      assert.equal(await ask('/healthz'), '200 fine\n');
      assert.equal(await ask('/healthz?verbose'), '200 fine\n');
      assert.equal(await ask('/healthz', 'HEAD'), '200 ');
      assert.equal(await ask('/nothing'), '404 not found\n');
      assert.equal((await ask('/large')).length, large.length + 5);
      assert.equal(server!.clients, 1);
    } finally {
      agent.destroy();
    }
  });

  it('listens on all addresses of both families, or on one address', async () => {
    for (const [address, hosts, others] of [
      [':0', ['127.0.0.1', '::1'], []],
      ['127.0.0.1:0', ['127.0.0.1'], ['::1']],
      ['[::1]:0', ['::1'], ['127.0.0.1']],
    ] as const) {
      const one = serve({ address });
      for (const host of hosts) {
        const socket = client(one.port, host);
        socket.write(last('/healthz'));
        assert.match(await received(socket), /^HTTP\/1\.1 200 OK\r\n/, `${address} from ${host}`);
      }
      for (const host of others) assert.equal(await received(client(one.port, host)), '');
      one[Symbol.dispose]();
      server = undefined;
    }
  });

  it('answers pipelined requests, single bytes, and a client that has shut down its side', async () => {
    serve();
    const pipelined = client();
    pipelined.write(get('/healthz') + get('/x') + last('/healthz') + get('/healthz'));
    const statuses = (await received(pipelined)).match(/HTTP\/1\.1 \d+/g);
    assert.deepEqual(statuses, ['HTTP/1.1 200', 'HTTP/1.1 404', 'HTTP/1.1 200']);
    pipelined.end();
    const slow = client();
    for (const byte of Buffer.from(get('/healthz'))) slow.write(Uint8Array.of(byte));
    slow.end();
    assert.match(await received(slow), /fine\n$/);
    await eventually('all clients are gone', () => server!.clients === 0);
  });

  it('delivers a refusal to a client that is still sending', async () => {
    serve();
    const socket = client();
    socket.write(`POST /healthz HTTP/1.1\r\nHost: n\r\nContent-Length: 1000000\r\n\r\n`);
    socket.write('x'.repeat(1_000_000));
    assert.match(await received(socket), /^HTTP\/1\.1 413 .*Connection: close/s);
    socket.end();
    await eventually('the client is gone', () => server!.clients === 0);
  });

  it('drops a client that continues to send after a refusal', async () => {
    serve({ limits: { ...defaultLimits, stalledMs: 100 } });
    const socket = client();
    socket.write('nonsense\r\n\r\n');
    const flood = setInterval(() => socket.write('x'.repeat(1000)), 5);
    try {
      await eventually('the client is connected', () => server!.clients === 1);
      await eventually('the client is gone', () => server!.clients === 0);
    } finally {
      clearInterval(flood);
    }
  });

  it('logs an error of the handler and does not send its text', async () => {
    serve();
    const socket = client();
    socket.write(last('/broken'));
    const text = await received(socket);
    assert.match(text, /^HTTP\/1\.1 500 Internal Server Error/);
    assert.doesNotMatch(text, /look up/);
    assert.deepEqual(logged, ['error answer /broken: look up x: it broke']);
  });

  it('closes idle clients, and clients that do not read', async () => {
    serve({ limits: { ...defaultLimits, idleMs: 100, stalledMs: 100 } });
    const silent = client();
    const half = client();
    half.write('GET / HTT');
    assert.deepEqual(await Promise.all([received(silent), received(half)]), ['', '']);
    const unreading = client();
    unreading.pause();
    unreading.write(get('/large').repeat(100));
    await eventually('the client is connected', () => server!.clients === 1);
    await eventually('the client is dropped', () => server!.clients === 0);
  });

  it('sets no timer for each request of a client that keeps its connection', async () => {
    const waits: number[] = [];
    const counting: typeof platform = {
      ...platform,
      setTimer(milliseconds, fire) {
        waits.push(milliseconds);
        return platform.setTimer(milliseconds, fire);
      },
    };
    server = new HttpServer(counting, {
      ...{ name: 'metrics', address: '127.0.0.1:0', handler: () => textResponse(200, 'fine') },
    });
    const socket = client();
    for (let i = 0; i < 20; i++) {
      socket.write(get('/metrics'));
      await received(socket, (text) => text.includes('fine'));
    }
    assert.equal(waits.length, 1);
    assert.ok(waits[0]! > 50_000);
  });

  it('closes the longest idle connection when there are too many', async () => {
    serve({ limits: { ...defaultLimits, clients: 4 } });
    const idle = Array.from({ length: 30 }, () => client());
    await Promise.all(idle.map((socket) => new Promise((done) => socket.once('connect', done))));
    const socket = client();
    socket.write(last('/healthz'));
    assert.match(await received(socket), /^HTTP\/1\.1 200 OK/);
    assert.ok(server!.clients <= 4);
  });

  it('leaks no descriptor when clients send garbage and disconnect', async () => {
    serve();
    const before = readdirSync('/proc/self/fd').length;
    for (let round = 0; round < 10; round++) {
      const some = Array.from({ length: 30 }, () => client());
      await Promise.all(
        some.map((s) => new Promise((done) => s.once('connect', done).once('close', done))),
      );
      for (const [i, socket] of some.entries()) {
        if (i % 3 === 0) socket.write(Buffer.from(platform.randomBytes(500)));
        if (i % 3 === 1) socket.write(get('/large'));
        socket.destroy();
      }
    }
    await eventually('all clients are gone', () => server!.clients === 0);
    const socket = client();
    socket.write(last('/healthz'));
    assert.match(await received(socket), /200 OK/);
    assert.ok(readdirSync('/proc/self/fd').length <= before + 10);
  });

  it('reports once that a port is in use, and listens once it is free', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    try {
      await once(other, 'listening');
      const { port } = other.address() as { port: number };
      const problems: (string | undefined)[] = [];
      serve({
        address: `127.0.0.1:${port}`,
        portInUseHint: 'it is free soon',
        onChange: (problem) => problems.push(problem),
      });
      assert.equal(server!.status.listening, false);
      assert.match(
        server!.status.problem!,
        /^health is not served: listen on 127.*\(EADDRINUSE\); it is free soon$/,
      );
      await new Promise((done) => setTimeout(done, 400));
      assert.equal(problems.length, 1);
      await new Promise((done) => other.close(done));
      await eventually('the server listens', () => server!.status.listening);
      assert.equal(problems[1], undefined);
      assert.deepEqual(server!.status, { address: `127.0.0.1:${port}`, listening: true });
      const socket = client(port);
      socket.write(last('/healthz'));
      assert.match(await received(socket), /200 OK/);
    } finally {
      other.close();
    }
  });

  it('releases the port when it is disposed of, also while it waits for one', async () => {
    const { port } = serve();
    const waiting = new HttpServer(platform, {
      name: 'metrics',
      address: `127.0.0.1:${port}`,
      handler: () => undefined,
    });
    waiting[Symbol.dispose]();
    server![Symbol.dispose]();
    server = undefined;
    const next = serve({ address: `127.0.0.1:${port}` });
    assert.equal(next.status.listening, true);
  });
});
