// A client with minimal overhead for the servers of reply-loop.ts. `connect-loop.ts ADDRESS PORT
// [PAUSE]` makes connections until its stdin is closed, in small groups (all connect, all send, all
// receive), so that several are open at any time, with a pause in milliseconds between groups. Each
// line on stdout has the number of connections made so far and a list of all errors. Nothing is
// retried.

import { writeSync } from 'node:fs';
import { closeFd, errno, errnoNames, syscallNumbers } from '@heddle/sys';
import {
  AF_INET,
  AF_INET6,
  encodeSockaddr,
  MSG_NOSIGNAL,
  SOCK_CLOEXEC,
  SOCK_STREAM,
} from '@heddle/sys/net';
import { nodePlatform } from '@heddle/sys/node';

const groupSize = 16;
/** The number of connections between two reports, if there are no pauses. */
const reportEvery = 4096;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;

const target = process.argv[2]!;
const port = Number(process.argv[3]);
const pauseMs = Number(process.argv[4] ?? 0);
const sleeping = new Int32Array(new SharedArrayBuffer(4));
const platform = nodePlatform();
const nr = syscallNumbers(platform);
const family = target.includes(':') ? AF_INET6 : AF_INET;
const address = encodeSockaddr({ address: target, port });
const request = new Uint8Array(1);
const reply = new Uint8Array(8);
const failures: string[] = [];

platform.syscall(nr.fcntl, 0, F_SETFL, O_NONBLOCK);
let made = 0;
for (let stopped = false; !stopped; ) {
  if (pauseMs > 0) {
    group();
    Atomics.wait(sleeping, 0, 0, pauseMs);
  } else {
    for (const next = made + reportEvery; made < next; ) group();
  }
  stopped = platform.syscall(nr.read, 0, reply, reply.length) === 0;
  writeSync(1, `${made} ${JSON.stringify(failures)}\n`);
}

function group(): void {
  const open: number[] = [];
  for (let i = 0; i < groupSize; i++) {
    made++;
    const fd = call('socket', nr.socket, family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) continue;
    if (call('connect', nr.connect, fd, address, address.length) < 0) closeFd(platform, fd);
    else open.push(fd);
  }
  const asked = open.filter((fd, i) => {
    request[0] = made + i;
    return call('send', nr.sendto, fd, request, 1, MSG_NOSIGNAL, 0, 0) === 1;
  });
  for (const fd of asked) {
    const got = call('receive', nr.recvfrom, fd, reply, reply.length, 0, 0, 0);
    const sent = (made + open.indexOf(fd)) & 0xff;
    if (got >= 0 && (got !== 2 || reply[0] === 0 || reply[1] !== sent)) {
      fail(`receive: ${reply.subarray(0, got)} in reply to ${sent}`);
    }
  }
  for (const fd of open) closeFd(platform, fd);
}

function call(name: string, number: number, ...args: (number | Uint8Array)[]): number {
  let result: number;
  do result = platform.syscall(number, ...args);
  while (result === -errno.EINTR);
  if (result < 0) fail(`${name}: ${errnoNames[-result]}`);
  return result;
}

function fail(what: string): void {
  failures.push(`connection ${made}, ${new Date().toISOString()}: ${what}`);
}
