import { checked, closeFd, errnoNames, syscallNumbers } from '@heddle/sys';
import {
  AF_INET,
  decodeSockaddr,
  encodeInt,
  encodeSockaddr,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_STREAM,
} from '@heddle/sys/net';
import { platform } from './kernel.ts';

// Sockets by system calls: work inside a namespace or cgroup must be synchronous.
const nr = syscallNumbers(platform);
const types = { tcp: SOCK_STREAM, udp: SOCK_DGRAM } as const;

/** An IPv4 socket; disposal closes it. */
export class TestSocket implements Disposable {
  readonly fd: number;

  constructor(kind: keyof typeof types) {
    this.fd = checked(
      'socket',
      platform.syscall(nr.socket, AF_INET, types[kind] | SOCK_CLOEXEC, 0),
    );
  }

  /** Binds to a free port of 127.0.0.1 and, for TCP, listens; returns the port. */
  bind(listen: boolean): number {
    checked('bind', platform.syscall(nr.bind, this.fd, address(0), 16));
    if (listen) checked('listen', platform.syscall(nr.listen, this.fd, 8));
    const own = new Uint8Array(16);
    checked('getsockname', platform.syscall(nr.getsockname, this.fd, own, encodeInt(16)));
    return decodeSockaddr(own).port;
  }

  /** Connects, by default to 127.0.0.1; returns `ok` or the errno's name. */
  connect(port: number, to?: string): string {
    return name(platform.syscall(nr.connect, this.fd, address(port, to), 16));
  }

  /** Sends a byte without waiting; returns `ok` or the errno's name. */
  send(): string {
    return name(
      platform.syscall(nr.sendto, this.fd, new Uint8Array(1), 1, MSG_NOSIGNAL | MSG_DONTWAIT, 0, 0),
    );
  }

  /** Receives without waiting; returns `ok` or the errno's name. */
  receive(): string {
    return name(platform.syscall(nr.recvfrom, this.fd, new Uint8Array(64), 64, MSG_DONTWAIT, 0, 0));
  }

  [Symbol.dispose](): void {
    closeFd(platform, this.fd);
  }
}

function name(result: number): string {
  return result < 0 ? (errnoNames[-result] ?? String(result)) : 'ok';
}

function address(port: number, to = '127.0.0.1'): Uint8Array {
  return encodeSockaddr({ address: to, port });
}
