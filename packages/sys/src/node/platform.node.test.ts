import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../../testing/eventually.ts';
import { errno } from '../errno.ts';
import { checked } from '../errors.ts';
import { closeFd } from '../files.ts';
import {
  AF_INET,
  encodeInt,
  encodeSockaddr,
  MSG_DONTWAIT,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  type SocketAddress,
} from '../net/index.ts';
import { decodeSockaddr, sockaddrSize } from '../net/socket-address.ts';
import { syscallNumbers } from '../syscalls.ts';
import { nodePlatform } from './platform.ts';

const platform = nodePlatform();
const nr = syscallNumbers(platform);

test('onReadable calls back after an error of the socket, and again for the next datagram', async () => {
  const fds: number[] = [];
  const udp = () => {
    const type = SOCK_DGRAM | SOCK_CLOEXEC;
    const fd = checked('socket', platform.syscall(nr.socket, AF_INET, type, 0));
    fds.push(fd);
    const any = encodeSockaddr({ address: '127.0.0.1', port: 0 });
    checked('bind', platform.syscall(nr.bind, fd, any, any.length));
    const name = new Uint8Array(sockaddrSize);
    checked('getsockname', platform.syscall(nr.getsockname, fd, name, encodeInt(name.length)));
    return { fd, address: decodeSockaddr(name) };
  };
  const send = (fd: number, to: SocketAddress) => {
    const name = encodeSockaddr(to);
    platform.syscall(nr.sendto, fd, Uint8Array.of(7), 1, 0, name, name.length);
  };
  const [socket, peer] = [udp(), udp()];
  const received: number[] = [];
  const watch = platform.onReadable(socket.fd, () => {
    const bytes = new Uint8Array(8);
    const got = platform.syscall(nr.recvfrom, socket.fd, bytes, 8, MSG_DONTWAIT, 0, 0);
    received.push(got);
  });
  try {
    const name = encodeSockaddr(peer.address);
    checked('connect', platform.syscall(nr.connect, socket.fd, name, name.length));
    send(peer.fd, socket.address);
    await eventually('a datagram is received', () => received.length === 1);
    closeFd(platform, fds.pop()!);
    // No socket has the port any more, so the kernel reports an error.
    checked('sendto', platform.syscall(nr.sendto, socket.fd, Uint8Array.of(7), 1, 0, 0, 0));
    await eventually('the error is received', () => received.length === 2);
    const again = udp();
    const to = encodeSockaddr(again.address);
    checked('connect', platform.syscall(nr.connect, socket.fd, to, to.length));
    send(again.fd, socket.address);
    await eventually('a datagram is received after the error', () => received.length === 3);
    assert.deepEqual(received, [1, -errno.ECONNREFUSED, 1]);
  } finally {
    watch[Symbol.dispose]();
    for (const fd of fds) closeFd(platform, fd);
  }
});
