import { errno, type Platform, type SyscallArgument, syscallNumbers } from '@heddle/sys';
import { MSG_PEEK } from '@heddle/sys/net';

/** A kernel with scripted answers: datagrams, or -errno for a receive that fails. */
export interface FakeKernel {
  readonly platform: Platform;
  /** The requests that it has received. */
  readonly sent: Uint8Array[];
}

/**
 * Returns a platform that has one netlink socket. For each request, `answer` returns what the socket
 * then receives; messages with sequence number 0 get that of the request.
 */
export function fakeKernel(
  answer: (request: Uint8Array, count: number) => (Uint8Array | number)[],
): FakeKernel {
  const nr = syscallNumbers({ arch: 'x64' });
  const sent: Uint8Array[] = [];
  const queue: (Uint8Array | number)[] = [];
  const calls: Record<number, (args: readonly SyscallArgument[]) => number> = {
    [nr.socket]: () => 7,
    [nr.setsockopt]: () => 0,
    [nr.close]: () => 0,
    [nr.sendto]: ([, bytes]) => {
      const request = (bytes as Uint8Array).slice();
      sent.push(request);
      for (const each of answer(request, sent.length)) {
        queue.push(typeof each === 'number' ? each : addressed(each, request));
      }
      return request.length;
    },
    [nr.recvfrom]: ([, buffer, , flags]) => {
      const [next] = queue;
      if (next === undefined) return -errno.EAGAIN;
      if (typeof next === 'number') {
        queue.shift();
        return next;
      }
      (buffer as Uint8Array).set(next.subarray(0, (buffer as Uint8Array).length));
      if (!((flags as number) & MSG_PEEK)) queue.shift();
      return next.length;
    },
  };
  const platform = {
    arch: 'x64',
    syscall(number: number, ...args: readonly SyscallArgument[]) {
      const call = calls[number];
      if (!call) throw new Error(`fake kernel: system call ${number} was not expected`);
      return call(args);
    },
  } as unknown as Platform;
  return { platform, sent };
}

function addressed(datagram: Uint8Array, request: Uint8Array): Uint8Array {
  const bytes = datagram.slice();
  const view = new DataView(bytes.buffer);
  for (let at = 0; at + 16 <= bytes.length; ) {
    if (view.getUint32(at + 8, true) === 0) bytes.set(request.subarray(8, 12), at + 8);
    const length = view.getUint32(at, true);
    if (length < 16 || length > bytes.length) break;
    at += (length + 3) & ~3;
  }
  return bytes;
}

/** Returns one message; sequence number 0 means that of the request. */
export function message(
  type: number,
  flags: number,
  body: Uint8Array = new Uint8Array(0),
  sequence = 0,
): Uint8Array {
  const bytes = new Uint8Array(16 + ((body.length + 3) & ~3));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 16 + body.length, true);
  view.setUint16(4, type, true);
  view.setUint16(6, flags, true);
  view.setUint32(8, sequence, true);
  bytes.set(body, 16);
  return bytes;
}

/** Returns the body of an acknowledgement or of the end of a listing: the code, then `rest`. */
export function code(value: number, ...rest: Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(4 + rest.reduce((sum, part) => sum + part.length, 0));
  new DataView(bytes.buffer).setInt32(0, value, true);
  let at = 4;
  for (const part of rest) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

export function join(...parts: Uint8Array[]): Uint8Array {
  return code(0, ...parts).subarray(4);
}
