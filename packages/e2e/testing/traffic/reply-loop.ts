// A server with minimal overhead. `reply-loop.ts NUMBER PORT` replies to one byte X with the bytes
// NUMBER and X and closes the connection. It serves IPv4 and IPv6 and prints a line when it
// listens. After its stdin is closed it serves connections that were already on their way; after a
// second without one it prints the number of connections and ends.

import { writeSync } from 'node:fs';
import { BlockingSocket } from '@heddle/lab';
import { checked, closeFd, errno, syscallNumbers } from '@heddle/sys';
import { MSG_NOSIGNAL, SOCK_CLOEXEC } from '@heddle/sys/net';
import { nodePlatform } from '@heddle/sys/node';

/** Far longer than the time from the choice of a backend to its SYN, even on a busy machine. */
const noReplyMs = 1000;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;

const [number, port] = process.argv.slice(2).map(Number);
const platform = nodePlatform();
const nr = syscallNumbers(platform);
const request = new Uint8Array(8);
const reply = new Uint8Array(2);
reply[0] = number!;

const listener = BlockingSocket.open(platform, {
  protocol: 'tcp',
  family: 6,
  timeoutMs: noReplyMs,
});
listener.setV6Only(false);
listener.bind({ address: '::', port: port! });
listener.listen(4096);
platform.syscall(nr.fcntl, 0, F_SETFL, O_NONBLOCK);
// The loop never returns to the event loop, so streams would not be written.
writeSync(1, 'listening\n');

let served = 0;
for (;;) {
  const fd = platform.syscall(nr.accept4, listener.fd, 0, 0, SOCK_CLOEXEC);
  if (fd >= 0) {
    answer(fd);
    served++;
  } else if (fd === -errno.EAGAIN) {
    if (platform.syscall(nr.read, 0, request, request.length) === 0) break;
  } else if (fd !== -errno.EINTR) {
    checked('accept4', fd);
  }
}
writeSync(1, `${served}\n`);

function answer(fd: number): void {
  let got: number;
  do got = platform.syscall(nr.recvfrom, fd, request, request.length, 0, 0, 0);
  while (
    // An accepted socket inherits the listener's timeout, but a client may wait longer for a CPU.
    got === -errno.EINTR ||
    got === -errno.EAGAIN
  );
  // A client that failed sends nothing and counts the error itself.
  if (got === 1) {
    reply[1] = request[0]!;
    platform.syscall(nr.sendto, fd, reply, reply.length, MSG_NOSIGNAL, 0, 0);
  }
  closeFd(platform, fd);
}
