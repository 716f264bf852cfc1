import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { defaultLimits } from '@heddle/rpc';
import { isUnixListening } from '@heddle/sys/net';
import { nodePlatform } from '@heddle/sys/node';
import { eventually } from '@heddle/sys/testing/eventually';
import { longestRequest } from './protocol.ts';
import { AgentRunning, ControlServer, type Follow, type Handler } from './server.ts';

const logged: string[] = [];
const platform = nodePlatform((level, message) => logged.push(`${level} ${message}`));

const status = '{"version":1,"id":1,"method":"status"}\n';
const okay: Handler = () => ({ fine: true });
/** The length of a reply with 50,000 characters. */
const replyLength = '{"version":1,"id":1,"result":""}\n'.length + 50_000;
const okayReply = '{"version":1,"id":1,"result":{"fine":true}}\n';

let folder: string;
let path: string;
let server: ControlServer | undefined;
const sockets: Socket[] = [];

function serve(handler: Handler = okay, limits: Partial<typeof defaultLimits> = {}) {
  server = new ControlServer(platform, path, handler, { ...defaultLimits, ...limits });
  return server;
}

function client(options: { allowHalfOpen?: boolean } = {}) {
  const socket = connect({ path, ...options });
  socket.on('error', () => {});
  sockets.push(socket);
  return socket;
}

/** Returns what the server sends until it closes, or until `enough` holds. */
function receive(socket: Socket, enough: (text: string) => boolean = () => false): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const take = (data: Uint8Array) => {
      text += data.toString();
      if (!enough(text)) return;
      socket.off('data', take);
      resolve(text);
    };
    socket.on('data', take);
    socket.on('close', () => resolve(text));
  });
}

const lines = (n: number) => (text: string) => text.split('\n').length > n;

describe('control server', { timeout: 30_000 }, () => {
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'heddle-control-'));
    path = join(folder, 'run', 'agent.sock');
    logged.length = 0;
  });
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
    server?.[Symbol.dispose]();
    server = undefined;
    rmSync(folder, { recursive: true });
  });

  it('listens with mode 0600 under any umask, and removes the socket at the end', () => {
    for (const mask of [0o000, 0o022, 0o277]) {
      const before = process.umask(mask);
      try {
        path = join(folder, `agent-${mask}.sock`);
        const one = serve();
        assert.equal(statSync(path).mode & 0o777, 0o600);
        one[Symbol.dispose]();
        server = undefined;
        assert.throws(() => statSync(path), { code: 'ENOENT' });
      } finally {
        process.umask(before);
      }
    }
  });

  it('answers requests in order, also several in one packet and one in several', async () => {
    serve((request) => request.params);
    const socket = client();
    const two = '{"version":1,"id":"b","method":"config.get","params":{"x":"ü"}}\n';
    const bytes = Buffer.from(status + two);
    for (const byte of bytes) socket.write(Uint8Array.of(byte));
    assert.equal(
      await receive(socket, lines(2)),
      '{"version":1,"id":1,"result":{}}\n{"version":1,"id":"b","result":{"x":"ü"}}\n',
    );
    socket.write(`${status}\r\n\n${status}`);
    assert.equal((await receive(socket, lines(2))).split('\n').length, 3);
  });

  it("answers requests that precede the end of the client's side", async () => {
    serve();
    const socket = client({ allowHalfOpen: true });
    socket.end(status + status);
    assert.equal(await receive(socket), okayReply + okayReply);
  });

  it('answers malformed lines with errors and goes on', async () => {
    serve();
    const socket = client();
    socket.write(
      '\u0000\u0001[[[\n{"version":9,"id":3}\n{"version":1,"id":4,"method":["reboot"]}\n',
    );
    socket.write(status);
    const replies = (await receive(socket, lines(4)))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      replies.map((reply) => [reply.id, reply.error?.code]),
      [
        [null, 'bad-request'],
        [3, 'unsupported-version'],
        [4, 'unknown-method'],
        [1, undefined],
      ],
    );
  });

  it('ends a connection whose line is too long, without holding it', async () => {
    serve();
    const socket = client();
    socket.write('x'.repeat(longestRequest * 4));
    const text = await receive(socket);
    assert.equal(JSON.parse(text).error.code, 'line-too-long');
    await eventually('client gone', () => server!.clients === 0);
  });

  it('returns an error of the handler, and logs it', async () => {
    serve(() => {
      throw new Error('look up x: it broke');
    });
    const socket = client();
    socket.write(status);
    const { error } = JSON.parse(await receive(socket, lines(1)));
    assert.deepEqual(error, { code: 'internal', message: 'look up x: it broke' });
    assert.deepEqual(logged, ['error answer status: look up x: it broke']);
  });

  it('survives a flood of requests from a client that reads nothing, and serves others', async () => {
    serve(() => 'r'.repeat(50_000), { stalledMs: 400 });
    const flood = client();
    flood.pause();
    const before = process.memoryUsage().arrayBuffers;
    const many = status.repeat(20_000);
    flood.write(many);
    await new Promise((resolve) => setTimeout(resolve, 100));
    const polite = client();
    polite.write(status);
    assert.equal((await receive(polite, lines(1))).length, replyLength);
    assert.ok(process.memoryUsage().arrayBuffers - before < 16 * 1024 * 1024);
    polite.end();
    await eventually('the flooding client is dropped', () => server!.clients === 0);
  });

  it('sends all replies to a slow reader', async () => {
    serve(() => 'r'.repeat(50_000));
    const socket = client();
    socket.write(status.repeat(200));
    let length = 0;
    for await (const chunk of socket) {
      length += chunk.length;
      await new Promise((resolve) => setImmediate(resolve));
      if (length >= 200 * replyLength) break;
    }
    assert.equal(length, 200 * replyLength);
  });

  it('closes clients that send nothing, or half of a line', async () => {
    serve(okay, { idleMs: 100 });
    const silent = client();
    const half = client();
    half.write('{"version":1,');
    assert.deepEqual(await Promise.all([receive(silent), receive(half)]), ['', '']);
    assert.equal(server!.clients, 0);
  });

  it('refuses clients beyond the largest number, with a reason', async () => {
    serve(okay, { clients: 3 });
    const first = [client(), client(), client()];
    await eventually('three clients', () => server!.clients === 3);
    const beyond = client();
    assert.equal(JSON.parse(await receive(beyond)).error.code, 'busy');
    first[0]!.destroy();
    await eventually('a place is free', () => server!.clients === 2);
    const next = client();
    next.write(status);
    assert.equal(await receive(next, lines(1)), okayReply);
  });

  it('survives a thousand short connections', async () => {
    serve();
    const fds = () => readdirSync('/proc/self/fd').length;
    const before = fds();
    for (let round = 0; round < 20; round++) {
      const some = Array.from({ length: 50 }, () => client());
      await Promise.all(
        some.map((s) => new Promise((resolve) => s.on('connect', resolve).on('close', resolve))),
      );
      for (const [i, socket] of some.entries()) {
        if (i % 3 === 0) socket.write('garb');
        if (i % 3 === 1) socket.end(status);
        socket.destroy();
      }
    }
    await eventually('all gone', () => server!.clients === 0);
    const socket = client();
    socket.write(status);
    assert.equal(await receive(socket, lines(1)), okayReply);
    assert.ok(fds() <= before + 20);
  });

  it('sends events to followers, and drops one that does not read', async () => {
    const followers = new Set<Follow>();
    serve(
      (_request, follow) => {
        follow({ n: 0 });
        followers.add(follow);
        return 'following';
      },
      { idleMs: 50, pendingBytes: 100_000, stalledMs: 60_000 },
    );
    const emit = (event: unknown) => {
      for (const follow of followers) if (!follow(event)) followers.delete(follow);
    };
    const request = '{"version":1,"id":7,"method":"events.follow"}\n';
    const reading = client();
    const deaf = client();
    reading.write(request);
    deaf.write(request);
    deaf.pause();
    const two = await receive(reading, lines(2));
    assert.equal(
      two,
      '{"version":1,"id":7,"result":"following"}\n{"version":1,"id":7,"event":{"n":0}}\n',
    );
    // Longer than the idle time, which does not apply to followers.
    await new Promise((resolve) => setTimeout(resolve, 150));
    assert.equal(server!.clients, 2);
    reading.resume();
    for (let n = 1; followers.size === 2 && n < 1000; n++) {
      emit({ n, text: 'e'.repeat(10_000) });
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(followers.size, 1);
    const last = receive(reading, (text) => text.includes('"last"'));
    emit('last');
    assert.match(await last, /"event":"last"/);
  });

  it('replaces the socket of a dead process, and no socket on which a process listens', async () => {
    serve()[Symbol.dispose]();
    server = undefined;
    // A socket file without a listener, as kill -9 leaves it.
    const other = createServer().listen(path);
    await new Promise((resolve) => other.on('listening', resolve));
    assert.throws(() => serve(), AgentRunning);
    const { renameSync } = await import('node:fs');
    renameSync(path, `${path}.kept`);
    await new Promise((resolve) => other.close(resolve));
    renameSync(`${path}.kept`, path);
    assert.equal(isUnixListening(platform, path), false);
    serve();
    assert.equal(isUnixListening(platform, path), true);
    assert.throws(
      () => new ControlServer(platform, path, okay),
      /another agent answers there \(stop it first/,
    );
  });

  it('leaves a file that is no socket', () => {
    path = join(folder, 'agent.sock');
    writeFileSync(path, 'precious');
    assert.throws(() => serve(), /^SysError: listen on .*agent\.sock, where a file is: .*ENOTSOCK/);
    assert.equal(statSync(path).size, 8);
  });

  it('removes its own socket at the end, and nothing that has replaced it', async () => {
    serve();
    rmSync(path);
    writeFileSync(path, 'precious');
    server![Symbol.dispose]();
    assert.equal(statSync(path).size, 8);
    rmSync(path);
    serve();
    rmSync(path);
    const other = createServer().listen(path);
    await new Promise((resolve) => other.on('listening', resolve));
    server![Symbol.dispose]();
    server = undefined;
    try {
      assert.equal(isUnixListening(platform, path), true);
    } finally {
      await new Promise((resolve) => other.close(resolve));
    }
  });

  it('refuses a path that is too long for a socket', () => {
    path = join(folder, 'x'.repeat(120));
    assert.throws(() => serve(), /longer than 107 bytes/);
  });
});
