import type { LabHost } from '@heddle/lab';
import { checked, closeFd, encodeUtf8, errno, type Platform, syscallNumbers } from '@heddle/sys';
import {
  AF_INET,
  AF_INET6,
  decodeSockaddr,
  Epoll,
  encodeInt,
  encodeSockaddr,
  MSG_NOSIGNAL,
  SO_ERROR,
  SO_LINGER,
  SO_RCVBUFFORCE,
  SO_REUSEADDR,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SOCK_STREAM,
  SOL_SOCKET,
  type SocketAddress,
  sockaddrSize,
} from '@heddle/sys/net';

/** The value of SO_LINGER (struct linger: on, and no time) with which a connection is closed by a reset. */
export const lingerReset = new Uint8Array(Uint32Array.of(1, 0).buffer);
const types = { tcp: SOCK_STREAM, udp: SOCK_DGRAM, raw: SOCK_RAW } as const;

/** Called with EPOLL* bits when a socket is ready. */
type Ready = (events: number) => void;

/**
 * Many sockets that don't block, in the network namespaces of many hosts, and one epoll instance that waits for all of
 * them. A result below 0 is a negative error number, as the kernel returns it.
 */
export class ProbeSockets implements Disposable {
  readonly #platform: Platform;
  readonly #nr: ReturnType<typeof syscallNumbers>;
  readonly #epoll: Epoll;
  readonly #ready = new Map<number, Ready>();
  readonly #tokens = new Map<number, number>();
  readonly #bytes = new Uint8Array(2048);
  #nextToken = 1;

  constructor(platform: Platform) {
    this.#platform = platform;
    this.#nr = syscallNumbers(platform);
    this.#epoll = new Epoll(platform);
  }

  /** Returns true if the kernel has such sockets. */
  supports(kind: keyof typeof types, family: 4 | 6, protocol: number): boolean {
    const domain = family === 4 ? AF_INET : AF_INET6;
    const fd = this.#platform.syscall(this.#nr.socket, domain, types[kind], protocol);
    if (fd >= 0) closeFd(this.#platform, fd);
    return fd >= 0;
  }

  /** Opens a socket in the current network namespace. `tcp` is a stream of any protocol. Throws SysError. */
  open(kind: keyof typeof types, family: 4 | 6, protocol = 0): number {
    const type = types[kind] | SOCK_CLOEXEC | SOCK_NONBLOCK;
    const domain = family === 4 ? AF_INET : AF_INET6;
    const fd = this.#platform.syscall(this.#nr.socket, domain, type, protocol);
    checked('socket', fd, `open ${kind} socket`);
    if (kind !== 'tcp') this.#set(fd, SO_RCVBUFFORCE, encodeInt(4 << 20));
    this.#tokens.set(fd, 0);
    return fd;
  }

  /** Calls `ready` while the socket has one of `events`. Throws SysError. */
  watch(fd: number, events: number, ready: Ready): void {
    const token = this.#nextToken++;
    const former = this.#tokens.get(fd)!;
    this.#ready.delete(former);
    this.#ready.set(token, ready);
    this.#tokens.set(fd, token);
    if (former === 0) this.#epoll.add(fd, token, events);
    else this.#epoll.change(fd, token, events);
  }

  bind(fd: number, to: SocketAddress): void {
    this.#set(fd, SO_REUSEADDR, encodeInt(1));
    const address = encodeSockaddr(to);
    const result = this.#platform.syscall(this.#nr.bind, fd, address, address.length);
    checked('bind', result, `bind ${to.address} port ${to.port}`);
  }

  listen(fd: number): void {
    checked('listen', this.#platform.syscall(this.#nr.listen, fd, 1024));
  }

  /** Returns a connection, or a negative error number. */
  accept(fd: number): number {
    const flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
    const accepted = this.#platform.syscall(this.#nr.accept4, fd, 0, 0, flags);
    if (accepted >= 0) this.#tokens.set(accepted, 0);
    return accepted;
  }

  /** Returns 0 also while the handshake is under way. */
  connect(fd: number, to: SocketAddress): number {
    const address = encodeSockaddr(to);
    const result = this.#platform.syscall(this.#nr.connect, fd, address, address.length);
    return result === -errno.EINPROGRESS ? 0 : result;
  }

  /** Returns the number of the error that the socket has, and removes it; 0 for none. */
  takeError(fd: number): number {
    const value = new Uint8Array(4);
    const length = encodeInt(4);
    this.#platform.syscall(this.#nr.getsockopt, fd, SOL_SOCKET, SO_ERROR, value, length);
    return new DataView(value.buffer).getInt32(0, true);
  }

  send(fd: number, data: Uint8Array | string, to?: SocketAddress): number {
    const bytes = typeof data === 'string' ? encodeUtf8(data) : data;
    const address = to ? encodeSockaddr(to) : new Uint8Array(0);
    return this.#platform.syscall(
      this.#nr.sendto,
      ...[fd, bytes, bytes.length, MSG_NOSIGNAL, address, address.length],
    );
  }

  /** Returns what has been received, a copy, or undefined if there is nothing or an error. */
  receive(fd: number): { readonly bytes: Uint8Array; readonly from: Uint8Array } | undefined {
    const from = new Uint8Array(sockaddrSize);
    const bytes = this.#bytes;
    const got = this.#platform.syscall(
      this.#nr.recvfrom,
      ...[fd, bytes, bytes.length, 0, from, encodeInt(from.length)],
    );
    return got < 0 ? undefined : { bytes: bytes.slice(0, got), from };
  }

  /** Receives until nothing is left. */
  receiveAll(fd: number, work: (bytes: Uint8Array, from: SocketAddress) => void): void {
    for (;;) {
      const received = this.receive(fd);
      if (!received) return;
      work(received.bytes, decodeSockaddr(received.from));
    }
  }

  /** Waits up to `milliseconds` and calls what is ready. Returns the number of ready sockets. */
  wait(milliseconds: number): number {
    return this.#epoll.wait(milliseconds, (token, events) => this.#ready.get(token)?.(events));
  }

  /** Closes a socket; a connection by a reset, so that no TIME-WAIT is left. */
  close(fd: number, isConnection = false): void {
    const token = this.#tokens.get(fd);
    if (token === undefined) return;
    if (isConnection) this.#set(fd, SO_LINGER, lingerReset);
    this.#tokens.delete(fd);
    this.#ready.delete(token);
    closeFd(this.#platform, fd);
  }

  [Symbol.dispose](): void {
    for (const fd of [...this.#tokens.keys()]) this.close(fd);
    this.#epoll[Symbol.dispose]();
  }

  #set(fd: number, option: number, value: Uint8Array): void {
    const result = this.#platform.syscall(
      this.#nr.setsockopt,
      ...[fd, SOL_SOCKET, option, value, value.length],
    );
    checked('setsockopt', result);
  }
}

/** Runs `work` in the network namespace of a host, without its cgroup. */
export function inNamespace<Result>(host: LabHost, work: () => Result): Result {
  using namespace = host.openNamespace();
  return namespace.enter(work);
}
