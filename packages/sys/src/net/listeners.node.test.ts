import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { closeFd } from '../files.ts';
import { nodePlatform } from '../node/platform.ts';
import { listenTcp, localPort } from './tcp-listener.ts';
import {
  AlreadyListening,
  isUnixListening,
  listenUnix,
  removeOwnSocket,
  socketIdentity,
} from './unix-socket.ts';

const platform = nodePlatform();
const descriptors = () => readdirSync('/proc/self/fd').length;

describe('listenUnix', () => {
  let folder: string;
  let path: string;
  const fds: number[] = [];
  const listen = () => {
    const fd = listenUnix(platform, path);
    fds.push(fd);
    return fd;
  };
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'heddle-sys-'));
    path = join(folder, 'run', 'x.sock');
  });
  afterEach(() => {
    for (const fd of fds.splice(0)) closeFd(platform, fd);
    rmSync(folder, { recursive: true });
  });

  it('creates parent folders of mode 0700 and a socket of mode 0600 under any umask', () => {
    for (const mask of [0o000, 0o022, 0o277]) {
      path = join(folder, `x-${mask}.sock`);
      const before = process.umask(mask);
      try {
        listen();
      } finally {
        process.umask(before);
      }
      assert.equal(statSync(path).mode & 0o777, 0o600);
    }
    path = join(folder, 'a', 'b', 'x.sock');
    listen();
    assert.equal(statSync(join(folder, 'a')).mode & 0o777, 0o700);
    assert.equal(isUnixListening(platform, path), true);
  });

  it('replaces the socket of an ended process, and refuses one with a listener', async () => {
    listen();
    assert.throws(listen, AlreadyListening);
    // A server that Node.js closes removes its path, so the socket is renamed meanwhile.
    const other = createServer().listen(join(folder, 'other'));
    await once(other, 'listening');
    renameSync(join(folder, 'other'), join(folder, 'dead.sock'));
    other.close();
    path = join(folder, 'dead.sock');
    assert.equal(isUnixListening(platform, path), false);
    listen();
    assert.equal(isUnixListening(platform, path), true);
    assert.deepEqual(readdirSync(folder).sort(), ['dead.sock', 'run']);
  });

  it('leaves other files alone, and leaves no descriptor open when it fails', () => {
    path = join(folder, 'file');
    writeFileSync(path, 'precious');
    const before = descriptors();
    assert.throws(listen, { name: 'SysError', code: 'ENOTSOCK', message: /where a file is/ });
    assert.equal(statSync(path).size, 8);
    path = join(folder, 'link');
    symlinkSync(join(folder, 'nowhere'), path);
    assert.throws(listen, { code: 'ENOTSOCK', message: /where a link is/ });
    path = join(folder, 'x'.repeat(120));
    assert.throws(listen, /longer than 107 bytes \(give a shorter path\)/);
    assert.equal(descriptors(), before);
  });

  it('removeOwnSocket removes only the socket with that identity', () => {
    listen();
    const first = socketIdentity(platform, path)!;
    rmSync(path);
    assert.equal(socketIdentity(platform, path), undefined);
    removeOwnSocket(platform, path, first);
    writeFileSync(path, '');
    removeOwnSocket(platform, path, first);
    assert.ok(existsSync(path));
    rmSync(path);
    listen();
    removeOwnSocket(platform, path, socketIdentity(platform, path)!);
    assert.equal(existsSync(path), false);
  });
});

describe('listenTcp', () => {
  it('listens on all addresses of both families, or on one address', async () => {
    for (const [address, hosts, others] of [
      [undefined, ['127.0.0.1', '::1'], []],
      ['127.0.0.1', ['127.0.0.1'], ['::1']],
      ['::1', ['::1'], ['127.0.0.1']],
    ] as const) {
      const fd = listenTcp(platform, { ...(address && { address }), port: 0 }, 'test');
      const clients: Socket[] = [];
      try {
        const port = localPort(platform, fd);
        for (const host of hosts) {
          clients.push(connect(port, host));
          await once(clients.at(-1)!, 'connect');
        }
        for (const host of others) {
          clients.push(connect(port, host));
          await assert.rejects(once(clients.at(-1)!, 'connect'), { code: 'ECONNREFUSED' });
        }
      } finally {
        for (const client of clients) client.destroy();
        closeFd(platform, fd);
      }
    }
  });

  it('names the address in the error for a port in use', () => {
    const fd = listenTcp(platform, { address: '127.0.0.1', port: 0 }, 'test');
    try {
      const port = localPort(platform, fd);
      const before = descriptors();
      assert.throws(() => listenTcp(platform, { address: '127.0.0.1', port }, 'here'), {
        code: 'EADDRINUSE',
        message: /^listen on here: /,
      });
      assert.equal(descriptors(), before);
    } finally {
      closeFd(platform, fd);
    }
  });
});
