// One process that answers in all pods that shall answer: `node server.ts CPU LAB/POD...`. The same
// code in the same process serves every variant, so none has a warmer server than another.
import { openLab } from '@heddle/lab';
import { encodeUtf8 } from '@heddle/sys';
import { EPOLLIN, Epoll } from '@heddle/sys/net';
import { nodePlatform } from '@heddle/sys/node';
import { backendPort } from '../catalog.ts';
import { lastingRequest, response, transferBytes, transferMark } from './messages.ts';
import { Sockets } from './sockets.ts';

const [cpu, ...pods] = process.argv.slice(2);
const platform = nodePlatform();
const sockets = new Sockets(platform);
const epoll = new Epoll(platform);
const listeners = new Set<number>();
const input = new Uint8Array(1 << 18);
/** The bytes that are missing of transfers, by connection. */
const transfers = new Map<number, number>();
const output = encodeUtf8(response);
const lasts = lastingRequest.charCodeAt(0);

for (const name of pods) {
  const [lab, pod] = name.split('/');
  const place = openLab(platform, lab!)!.host(pod!);
  listeners.add(place.enter(() => sockets.listen(backendPort)));
}
for (const fd of listeners) epoll.add(fd, fd, EPOLLIN);
sockets.pinTo(Number(cpu));
const parent = process.ppid;
process.send!('ready', () => {
  // The loop never returns to Node, so it polls its sockets for clients itself.
  while (process.ppid === parent) epoll.wait(1000, serve);
  process.exit(0);
});

function serve(fd: number): void {
  if (!listeners.has(fd)) {
    answer(fd);
    return;
  }
  for (let n = 0; n < 64; n++) {
    const connection = sockets.accept(fd);
    if (connection === undefined) return;
    if (!answer(connection)) epoll.add(connection, connection, EPOLLIN);
  }
}

/** Returns true when the connection is over. */
function answer(connection: number): boolean {
  const got = sockets.receiveReady(connection, input);
  if (got === undefined) return false;
  if (got > 0 && (transfers.has(connection) || input[0] === transferMark)) {
    const left = (transfers.get(connection) ?? transferBytes) - got;
    if (left > 0) {
      transfers.set(connection, left);
      return false;
    }
    transfers.delete(connection);
    if (sockets.reply(connection, output)) return false;
  }
  transfers.delete(connection);
  if (got > 0 && sockets.reply(connection, output) && input[0] === lasts) return false;
  sockets.close(connection);
  return true;
}
