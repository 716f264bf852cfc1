// A server as cheap as can be: `reply-loop.ts NUMBER PORT` answers one byte X of a connection with
// the bytes NUMBER and X, and closes it. It serves IPv4 and IPv6, and says on stdout when it
// listens. Once its stdin is closed it stays until nothing has come for a while, so that whoever
// was sent here before is still served; then it says how many there were.

import { writeSync } from 'node:fs';
import { BlockingSocket } from '@heddle/lab';
import { checked, closeFd, errno, syscallNumbers } from '@heddle/sys';
import { MSG_NOSIGNAL, SOCK_CLOEXEC } from '@heddle/sys/net';
import { nodePlatform } from '@heddle/sys/node';

/** From the choice of a backend to its SYN it takes far less, also on a busy machine. */
const silenceMs = 1000;
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
  timeoutMs: silenceMs,
});
listener.setV6Only(false);
listener.bind({ address: '::', port: port! });
listener.listen(4096);
platform.syscall(nr.fcntl, 0, F_SETFL, O_NONBLOCK);
// The loop never returns to Node, whose streams would write later.
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
    // What is accepted has the listener's timeout; a client may have to wait for a processor for longer.
    got === -errno.EINTR ||
    got === -errno.EAGAIN
  );
  // A client that failed has nothing to ask; it counts that itself.
  if (got === 1) {
    reply[1] = request[0]!;
    platform.syscall(nr.sendto, fd, reply, reply.length, MSG_NOSIGNAL, 0, 0);
  }
  closeFd(platform, fd);
}
