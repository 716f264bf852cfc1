import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import { checked } from '../errors.ts';
import { closeFd } from '../files.ts';
import { nodePlatform } from '../node/platform.ts';
import { syscallNumbers } from '../syscalls.ts';
import { AF_INET, SOCK_CLOEXEC, SOCK_DGRAM } from './constants.ts';
import { EPOLLIN, EPOLLOUT, Epoll } from './epoll.ts';
import { decodeSockaddr, encodeInt, encodeSockaddr, sockaddrSize } from './socket-address.ts';

const platform = nodePlatform();
const nr = syscallNumbers(platform);
const fds: number[] = [];

/** Opens a UDP socket with an address of its own. */
function udp() {
  const type = SOCK_DGRAM | SOCK_CLOEXEC;
  const fd = checked('socket', platform.syscall(nr.socket, AF_INET, type, 0));
  fds.push(fd);
  const any = encodeSockaddr({ address: '127.0.0.1', port: 0 });
  checked('bind', platform.syscall(nr.bind, fd, any, any.length));
  const name = new Uint8Array(sockaddrSize);
  checked('getsockname', platform.syscall(nr.getsockname, fd, name, encodeInt(name.length)));
  return { fd, name: encodeSockaddr(decodeSockaddr(name)) };
}

function send(to: { readonly name: Uint8Array }): void {
  const { fd } = udp();
  const { name } = to;
  checked('sendto', platform.syscall(nr.sendto, fd, Uint8Array.of(1), 1, 0, name, name.length));
}

describe('Epoll', () => {
  afterEach(() => {
    for (const fd of fds.splice(0)) closeFd(platform, fd);
  });

  it('reports the token and the events of ready descriptors', () => {
    using epoll = new Epoll(platform);
    const [a, b] = [udp(), udp()];
    epoll.add(a.fd, 7, EPOLLIN);
    epoll.add(b.fd, 0xffffffff, EPOLLIN);
    const wait = () => {
      const ready: [number, number][] = [];
      const count = epoll.wait(0, (token, events) => ready.push([token, events]));
      assert.equal(count, ready.length);
      return ready;
    };
    assert.deepEqual(wait(), []);
    send(b);
    assert.deepEqual(wait(), [[0xffffffff, EPOLLIN]]);
    epoll.change(b.fd, 8, EPOLLIN | EPOLLOUT);
    assert.deepEqual(wait(), [[8, EPOLLIN | EPOLLOUT]]);
    epoll.remove(b.fd);
    assert.deepEqual(wait(), []);
  });

  it('waits inside of a callback without disturbing the outer wait', () => {
    using epoll = new Epoll(platform);
    const sockets = [udp(), udp(), udp()];
    for (const [token, { fd }] of sockets.entries()) epoll.add(fd, token, EPOLLIN);
    for (const socket of sockets) send(socket);
    const tokens: number[] = [];
    epoll.wait(0, (token) => {
      tokens.push(token);
      epoll.remove(sockets[2]!.fd);
      epoll.wait(0, () => {});
    });
    assert.deepEqual(tokens.sort(), [0, 1, 2]);
  });

  it('returns 0 when the time is over, and throws once it is closed', () => {
    const epoll = new Epoll(platform);
    assert.equal(
      epoll.wait(1, () => assert.fail('nothing is ready')),
      0,
    );
    epoll[Symbol.dispose]();
    epoll[Symbol.dispose]();
    assert.throws(() => epoll.wait(0, () => {}), /^Error: use epoll instance: it is closed$/);
    assert.throws(() => epoll.fd, /it is closed/);
  });

  it('refuses a descriptor that cannot be polled', () => {
    using epoll = new Epoll(platform);
    assert.throws(() => epoll.add(99_999, 1, EPOLLIN), { name: 'SysError', code: 'EBADF' });
  });
});
