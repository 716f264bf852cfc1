import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checked, closeFd, errno, syscallNumbers } from '@heddle/sys';
import {
  AF_INET,
  AF_INET6,
  encodeSockaddr,
  MSG_DONTWAIT,
  SOCK_DGRAM,
  SOCK_STREAM,
} from '@heddle/sys/net';
import { platform, sandbox } from '../testing/kernel.ts';
import { changeLink } from './links.ts';
import { NETLINK_SOCK_DIAG, NetlinkSocket } from './socket.ts';
import { destroySocket, listSockets } from './socket-diag.ts';

const nr = syscallNumbers(platform);

function withLoopback() {
  const here = sandbox();
  changeLink(here.socket, 1, { up: true });
  const diag = here.namespace.enter(() => new NetlinkSocket(platform, NETLINK_SOCK_DIAG));
  const fds: number[] = [];
  return {
    diag,
    open(family: number, type: number): number {
      const fd = here.namespace.enter(() => platform.syscall(nr.socket, family, type, 0));
      fds.push(checked('socket', fd));
      return fd;
    },
    [Symbol.dispose]() {
      for (const fd of fds) closeFd(platform, fd);
      diag[Symbol.dispose]();
      here[Symbol.dispose]();
    },
  };
}

function call(name: 'connect' | 'bind', fd: number, address: string, port: number): void {
  const bytes = encodeSockaddr({ address, port });
  checked(name, platform.syscall(nr[name], fd, bytes, bytes.length));
}

const receive = (fd: number) =>
  platform.syscall(nr.recvfrom, fd, new Uint8Array(1), 1, MSG_DONTWAIT, 0, 0);

test('connected UDP sockets are found by their peer and destroyed', () => {
  using here = withLoopback();
  for (const [address, plain] of [
    ['127.0.0.1', '127.0.0.1'],
    ['::1', '::1'],
    ['::ffff:127.0.0.1', '127.0.0.1'],
  ] as const) {
    const family = address.includes(':') ? AF_INET6 : AF_INET;
    const doomed = here.open(family, SOCK_DGRAM);
    const other = here.open(family, SOCK_DGRAM);
    call('connect', doomed, address, 5301);
    call('connect', other, address, 5302);
    const filter = { protocol: 'udp', destination: address, destinationPort: 5301 } as const;
    const [found, ...more] = listSockets(here.diag, filter);
    assert.equal(more.length, 0);
    assert.deepEqual(
      [found?.family, found?.state, found?.destination, found?.destinationPort],
      [family, 'established', plain, 5301],
    );
    assert.equal(receive(doomed), -errno.EAGAIN);
    assert.equal(destroySocket(here.diag, found!), true);
    assert.equal(receive(doomed), -errno.ECONNABORTED);
    assert.equal(receive(other), -errno.EAGAIN);
    assert.equal(destroySocket(here.diag, found!), false);
    assert.equal(listSockets(here.diag, filter).length, 0);
  }
});

test('TCP sockets are listed by state and destroyed', () => {
  using here = withLoopback();
  const listener = here.open(AF_INET6, SOCK_STREAM);
  call('bind', listener, '::', 8080);
  checked('listen', platform.syscall(nr.listen, listener, 8));
  const client = here.open(AF_INET, SOCK_STREAM);
  call('connect', client, '127.0.0.1', 8080);
  const listening = listSockets(here.diag, { protocol: 'tcp', states: ['listen'] });
  assert.deepEqual(
    listening.map(({ sourcePort }) => sourcePort),
    [8080],
  );
  const established = { protocol: 'tcp', states: ['established'], destinationPort: 8080 } as const;
  const [found] = listSockets(here.diag, established);
  assert.equal(destroySocket(here.diag, found!), true);
  assert.equal(receive(client), -errno.ECONNABORTED);
  assert.equal(listSockets(here.diag, established).length, 0);
});
