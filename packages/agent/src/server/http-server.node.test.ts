import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { Agent, get as httpGet } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { nodePlatform } from '@heddle/sys/node';
import { textResponse } from './http.ts';
import { HttpServer, type HttpServerOptions } from './http-server.ts';
import { defaultLimits } from './stream-server.ts';

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

/** All that the server says until it closes, or until `enough` holds. */
function hear(socket: Socket, enough: (text: string) => boolean = () => false): Promise<string> {
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

async function until(what: string, holds: () => boolean) {
  for (let i = 0; i < 400; i++) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail(`waited in vain: ${what}`);
}

const get = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nHost: n\r\n${more}\r\n`;
const last = (path: string) => get(path, 'Connection: close\r\n');

describe('http server', { timeout: 30_000 }, () => {
  beforeEach(() => {
    logged.length = 0;
  });
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
    server?.[Symbol.dispose]();
    server = undefined;
  });

  it('answers a client of Node.js on one connection', async () => {
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
      assert.equal(await ask('/nothing'), '404 there is nothing here\n');
      assert.equal((await ask('/large')).length, large.length + 5);
      assert.equal(server!.clients, 1);
    } finally {
      agent.destroy();
    }
  });

  it('serves both families on all addresses, and one address alone', async () => {
    for (const [address, hosts, others] of [
      [':0', ['127.0.0.1', '::1'], []],
      ['127.0.0.1:0', ['127.0.0.1'], ['::1']],
      ['[::1]:0', ['::1'], ['127.0.0.1']],
    ] as const) {
      const one = serve({ address });
      for (const host of hosts) {
        const socket = client(one.port, host);
        socket.write(last('/healthz'));
        assert.match(await hear(socket), /^HTTP\/1\.1 200 OK\r\n/, `${address} from ${host}`);
      }
      for (const host of others) assert.equal(await hear(client(one.port, host)), '');
      one[Symbol.dispose]();
      server = undefined;
    }
  });

  it('answers what came at once, byte by byte, and after the client shut its side', async () => {
    serve();
    const pipelined = client();
    pipelined.write(get('/healthz') + get('/x') + last('/healthz') + get('/healthz'));
    const statuses = (await hear(pipelined)).match(/HTTP\/1\.1 \d+/g);
    assert.deepEqual(statuses, ['HTTP/1.1 200', 'HTTP/1.1 404', 'HTTP/1.1 200']);
    pipelined.end();
    const slow = client();
    for (const byte of Buffer.from(get('/healthz'))) slow.write(Uint8Array.of(byte));
    slow.end();
    assert.match(await hear(slow), /fine\n$/);
    await until('all gone', () => server!.clients === 0);
  });

  it('gets a refusal across to a client that is still sending', async () => {
    serve();
    const socket = client();
    socket.write(`POST /healthz HTTP/1.1\r\nHost: n\r\nContent-Length: 1000000\r\n\r\n`);
    socket.write('x'.repeat(1_000_000));
    assert.match(await hear(socket), /^HTTP\/1\.1 413 .*Connection: close/s);
    socket.end();
    await until('gone', () => server!.clients === 0);
  });

  it('drops a client that goes on sending after a refusal', async () => {
    serve({ limits: { ...defaultLimits, stalledMs: 100 } });
    const socket = client();
    socket.write('nonsense\r\n\r\n');
    const flood = setInterval(() => socket.write('x'.repeat(1000)), 5);
    try {
      await until('client seen', () => server!.clients === 1);
      await until('gone', () => server!.clients === 0);
    } finally {
      clearInterval(flood);
    }
  });

  it('tells an error of the handler to the log only', async () => {
    serve();
    const socket = client();
    socket.write(last('/broken'));
    const text = await hear(socket);
    assert.match(text, /^HTTP\/1\.1 500 Internal Server Error/);
    assert.doesNotMatch(text, /look up/);
    assert.deepEqual(logged, ['error answer /broken: look up x: it broke']);
  });

  it('closes idle clients, and those that read nothing', async () => {
    serve({ limits: { ...defaultLimits, idleMs: 100, stalledMs: 100 } });
    const silent = client();
    const half = client();
    half.write('GET / HTT');
    assert.deepEqual(await Promise.all([hear(silent), hear(half)]), ['', '']);
    const deaf = client();
    deaf.pause();
    deaf.write(get('/large').repeat(100));
    await until('deaf client seen', () => server!.clients === 1);
    await until('deaf client dropped', () => server!.clients === 0);
  });

  it('does not wake the agent for a client that keeps its connection', async () => {
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
      await hear(socket, (text) => text.includes('fine'));
    }
    assert.equal(waits.length, 1);
    assert.ok(waits[0]! > 50_000);
  });

  it('lets nobody be kept out by connections that ask nothing', async () => {
    serve({ limits: { ...defaultLimits, clients: 4 } });
    const idle = Array.from({ length: 30 }, () => client());
    await Promise.all(idle.map((socket) => new Promise((done) => socket.once('connect', done))));
    const socket = client();
    socket.write(last('/healthz'));
    assert.match(await hear(socket), /^HTTP\/1\.1 200 OK/);
    assert.ok(server!.clients <= 4);
  });

  it('survives garbage and connections that come and go, and leaks no descriptor', async () => {
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
    await until('all gone', () => server!.clients === 0);
    const socket = client();
    socket.write(last('/healthz'));
    assert.match(await hear(socket), /200 OK/);
    assert.ok(readdirSync('/proc/self/fd').length <= before + 10);
  });

  it('waits for a port that is taken, and says so once', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((done) => other.once('listening', done));
    const { port } = other.address() as { port: number };
    const said: (string | undefined)[] = [];
    serve({ address: `127.0.0.1:${port}`, onChange: (problem) => said.push(problem) });
    assert.equal(server!.status.listening, false);
    assert.match(
      server!.status.problem!,
      /health is not served: listen on 127.* EADDRINUSE \(another process has the port, e\.g\. kube-proxy/,
    );
    await new Promise((done) => setTimeout(done, 400));
    assert.equal(said.length, 1);
    await new Promise((done) => other.close(done));
    await until('served', () => server!.status.listening);
    assert.equal(said[1], undefined);
    assert.deepEqual(server!.status, { address: `127.0.0.1:${port}`, listening: true });
    const socket = client(port);
    socket.write(last('/healthz'));
    assert.match(await hear(socket), /200 OK/);
  });

  it('gives up the port when it ends, also while it waits for one', async () => {
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
