import {
  checked,
  closeFd,
  encodeUtf8,
  errno,
  type Platform,
  type SyscallArgument,
  type SyscallName,
  SysError,
  syscallNumbers,
} from '@heddle/sys';
import {
  AF_INET,
  encodeInt,
  encodeSockaddr,
  encodeTimeout,
  IPPROTO_TCP,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  SO_RCVTIMEO,
  SO_REUSEADDR,
  SO_SNDTIMEO,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
} from '@heddle/sys/net';

// Plain IPv4 sockets over system calls, so that a measured connection costs what the kernel takes
// for it and hardly more: about 0.4 us of a call are ours.

// linux/tcp.h
const TCP_CONGESTION = 13;
const backlog = 4096;
/** Bytes; room for 1,024 processors. */
const processorMaskSize = 128;

/** Calls that the product has no use for (syscall_64.tbl, asm-generic/unistd.h). */
const ownNumbers = {
  x64: { sched_setaffinity: 203, sched_getaffinity: 204 },
  arm64: { sched_setaffinity: 122, sched_getaffinity: 123 },
} as const;

type CallName = SyscallName | keyof (typeof ownNumbers)['x64'];

/** The sockets that traffic of the benchmark needs. Everything throws SysError. */
export class Sockets {
  readonly #platform: Platform;
  readonly #nr: Readonly<Record<CallName, number>>;

  constructor(platform: Platform) {
    this.#platform = platform;
    this.#nr = { ...syscallNumbers(platform), ...ownNumbers[platform.arch] };
  }

  /** Lets the calling thread, and what it starts from now on, run on one processor only. */
  pinTo(cpu: number): void {
    const mask = new Uint8Array(processorMaskSize);
    mask[cpu >> 3] = 1 << (cpu & 7);
    this.allowProcessors(mask);
  }

  /** Returns the processors that the calling thread may run on: one bit each. */
  processors(): Uint8Array {
    const mask = new Uint8Array(processorMaskSize);
    this.#call('sched_getaffinity', 0, mask.length, mask);
    return mask;
  }

  allowProcessors(mask: Uint8Array): void {
    this.#call('sched_setaffinity', 0, mask.length, mask);
  }

  /** Returns an unconnected socket of the namespace and cgroup that the process is in. */
  open(): number {
    return this.#call('socket', AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  }

  /** Sets the time in seconds after which connecting and receiving on `fd` fail. */
  setTimeout(fd: number, seconds: number): void {
    const time = encodeTimeout(seconds * 1000);
    this.#call('setsockopt', fd, SOL_SOCKET, SO_RCVTIMEO, time, time.length);
    this.#call('setsockopt', fd, SOL_SOCKET, SO_SNDTIMEO, time, time.length);
  }

  /** Sets the congestion control of `fd`, e.g. `cubic`. */
  setCongestionControl(fd: number, name: string): void {
    const bytes = encodeUtf8(name);
    this.#call('setsockopt', fd, IPPROTO_TCP, TCP_CONGESTION, bytes, bytes.length);
  }

  /** `address` is a result of `encodeSockaddr`. */
  connect(fd: number, address: Uint8Array): void {
    this.#call('connect', fd, address, address.length);
  }

  send(fd: number, bytes: Uint8Array): void {
    const sent = this.#call('sendto', fd, bytes, bytes.length, MSG_NOSIGNAL, 0, 0);
    if (sent !== bytes.length) throw new Error(`send: ${sent} bytes of ${bytes.length}`);
  }

  /** Returns the number of bytes received; 0 at the end of the stream. */
  receive(fd: number, into: Uint8Array): number {
    return this.#call('recvfrom', fd, into, into.length, 0, 0, 0);
  }

  /** Like `receive`, but undefined when nothing is there yet; a reset counts as the end. */
  receiveReady(fd: number, into: Uint8Array): number | undefined {
    const got = this.#raw('recvfrom', fd, into, into.length, MSG_DONTWAIT, 0, 0);
    if (got === -errno.EAGAIN) return undefined;
    if (got === -errno.ECONNRESET || got === -errno.EPIPE) return 0;
    return checked('recvfrom', got);
  }

  /** Sends what fits at once; false when the other end is gone. */
  reply(fd: number, bytes: Uint8Array): boolean {
    const sent = this.#raw('sendto', fd, bytes, bytes.length, MSG_NOSIGNAL | MSG_DONTWAIT, 0, 0);
    return sent === bytes.length;
  }

  close(fd: number): void {
    closeFd(this.#platform, fd);
  }

  /** Listens on all addresses of the namespace that the process is in. */
  listen(port: number): number {
    const type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    const fd = this.#call('socket', AF_INET, type, 0);
    this.#call('setsockopt', fd, SOL_SOCKET, SO_REUSEADDR, encodeInt(1), 4);
    const everywhere = encodeSockaddr({ address: '0.0.0.0', port });
    this.#call('bind', fd, everywhere, everywhere.length);
    this.#call('listen', fd, backlog);
    return fd;
  }

  /** Returns the next waiting connection, if there is one. */
  accept(listener: number): number | undefined {
    const fd = this.#raw('accept4', listener, 0, 0, SOCK_CLOEXEC);
    if (fd === -errno.EAGAIN || fd === -errno.ECONNABORTED) return undefined;
    return checked('accept4', fd);
  }

  #raw(name: CallName, ...args: readonly SyscallArgument[]): number {
    return this.#platform.syscall(this.#nr[name], ...args);
  }

  #call(name: CallName, ...args: readonly SyscallArgument[]): number {
    for (;;) {
      const result = this.#raw(name, ...args);
      if (result >= 0) return result;
      if (result !== -errno.EINTR) throw new SysError(name, -result);
    }
  }
}
