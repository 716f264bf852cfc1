// The thread of RestlessSenders.
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { errno, syscallNumbers } from '@heddle/sys';
import { encodeSockaddr, MSG_DONTWAIT, MSG_NOSIGNAL } from '@heddle/sys/net';
import { nodePlatform } from '@heddle/sys/node';
import type { RestlessSend } from './restless-senders.ts';

const { port, counts, done } = workerData as {
  port: MessagePort;
  counts: Int32Array;
  done: Int32Array;
};
const platform = nodePlatform(() => {});
const nr = syscallNumbers(platform);
const flags = MSG_DONTWAIT | MSG_NOSIGNAL;

let sends: (RestlessSend & { readonly name: Uint8Array })[] = [];
for (;;) {
  const received = receiveMessageOnPort(port);
  if (received) {
    sends = (received.message as RestlessSend[]).map((each) => ({
      ...each,
      name: encodeSockaddr(each.to),
    }));
    Atomics.add(done, 0, 1);
    Atomics.notify(done, 0);
  }
  for (const { fd, bytes, name, counter } of sends) {
    const result = bytes
      ? platform.syscall(nr.sendto, fd, bytes, bytes.length, flags, name, name.length)
      : platform.syscall(nr.connect, fd, name, name.length);
    // The first call of connect that has a route sends a SYN; later ones return EALREADY.
    if (result >= 0 || result === -errno.EINPROGRESS) Atomics.add(counts, counter, 1);
  }
  // Without work it waits for some.
  if (sends.length === 0) Atomics.wait(done, 0, Atomics.load(done, 0), 1);
}
