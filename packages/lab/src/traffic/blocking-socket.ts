import {
  checked,
  closeFd,
  encodeUtf8,
  errno,
  type Platform,
  SysError,
  syscallNumbers,
} from '@heddle/sys';
import {
  AF_INET,
  AF_INET6,
  decodeSockaddr,
  encodeInt,
  encodeSockaddr,
  encodeTimeout,
  formatSocketAddress,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_IPV6,
  IPV6_V6ONLY,
  MSG_NOSIGNAL,
  SHUT_WR,
  SO_RCVTIMEO,
  SO_REUSEADDR,
  SO_SNDTIMEO,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_RAW,
  SOCK_STREAM,
  SOL_SOCKET,
  type SocketAddress,
  sockaddrSize,
} from '@heddle/sys/net';

const types = { tcp: SOCK_STREAM, udp: SOCK_DGRAM, icmp: SOCK_RAW } as const;

export interface BlockingSocketOptions {
  /** `icmp`: a raw socket for the ICMP messages of the family. */
  readonly protocol: 'tcp' | 'udp' | 'icmp';
  /** 6: an IPv6 socket, which supports `::ffff:a.b.c.d` as well. */
  readonly family: 4 | 6;
  /** Milliseconds after which a blocked call fails with ETIMEDOUT. Default: 2000. */
  readonly timeoutMs?: number;
}

/**
 * A socket with plain blocking system calls. Inside of `host.enter` it belongs to that namespace and
 * cgroup. Each call returns the kernel's result at once, so it is also the fastest socket in Node.js,
 * which latencies are measured with.
 */
export class BlockingSocket implements Disposable {
  readonly #platform: Platform;
  readonly #nr: ReturnType<typeof syscallNumbers>;
  #fd: number;

  private constructor(platform: Platform, fd: number) {
    this.#platform = platform;
    this.#nr = syscallNumbers(platform);
    this.#fd = fd;
  }

  /** Throws SysError. */
  static open(platform: Platform, options: BlockingSocketOptions): BlockingSocket {
    const { protocol, family, timeoutMs = 2000 } = options;
    const type = types[protocol];
    const icmp = family === 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
    const result = platform.syscall(
      syscallNumbers(platform).socket,
      family === 4 ? AF_INET : AF_INET6,
      type | SOCK_CLOEXEC,
      protocol === 'icmp' ? icmp : 0,
    );
    const socket = new BlockingSocket(platform, checked('socket', result, 'open socket'));
    socket.#setTimeout(timeoutMs);
    return socket;
  }

  get fd(): number {
    return this.#fd;
  }

  /** Throws SysError: ECONNREFUSED, ETIMEDOUT, EPERM, ... */
  connect(to: SocketAddress): void {
    const address = encodeSockaddr(to);
    const result = this.#retry(() =>
      this.#platform.syscall(this.#nr.connect, this.#fd, address, address.length),
    );
    // The error of connect(2) when SO_SNDTIMEO has passed (socket(7)).
    this.#check('connect', result === -errno.EINPROGRESS ? -errno.EAGAIN : result, to);
  }

  bind(to: SocketAddress): void {
    const on = encodeInt(1);
    this.setOption(SOL_SOCKET, SO_REUSEADDR, on);
    const address = encodeSockaddr(to);
    this.#check(
      'bind',
      this.#platform.syscall(this.#nr.bind, this.#fd, address, address.length),
      to,
    );
  }

  /** Sets IPV6_V6ONLY, before `bind` to `::`. Throws SysError. */
  setV6Only(on: boolean): void {
    this.setOption(IPPROTO_IPV6, IPV6_V6ONLY, encodeInt(on ? 1 : 0));
  }

  setOption(level: number, option: number, value: Uint8Array): void {
    this.#check(
      'setsockopt',
      this.#platform.syscall(this.#nr.setsockopt, this.#fd, level, option, value, value.length),
    );
  }

  listen(backlog = 128): void {
    this.#check('listen', this.#platform.syscall(this.#nr.listen, this.#fd, backlog));
  }

  /** Waits for a connection. Throws SysError. */
  accept(timeoutMs = 2000): BlockingSocket {
    const fd = this.#retry(() =>
      this.#platform.syscall(this.#nr.accept4, this.#fd, 0, 0, SOCK_CLOEXEC),
    );
    const socket = new BlockingSocket(this.#platform, this.#check('accept4', fd));
    socket.#setTimeout(timeoutMs);
    return socket;
  }

  /** Sends all bytes; `to` is for unconnected UDP. Throws SysError. */
  send(data: Uint8Array | string, to?: SocketAddress): void {
    const bytes = typeof data === 'string' ? encodeUtf8(data) : data;
    const address = to ? encodeSockaddr(to) : new Uint8Array(0);
    let at = 0;
    do {
      const left = bytes.subarray(at);
      const sent = this.#retry(() =>
        this.#platform.syscall(
          this.#nr.sendto,
          this.#fd,
          left,
          left.length,
          MSG_NOSIGNAL,
          address,
          address.length,
        ),
      );
      at += this.#check('sendto', sent, to);
    } while (at < bytes.length);
  }

  /** Shuts down sending; the socket still receives. Throws SysError. */
  endSending(): void {
    this.#check('shutdown', this.#platform.syscall(this.#nr.shutdown, this.#fd, SHUT_WR));
  }

  /** Returns up to `size` received bytes; none at the end of a stream. Throws SysError. */
  receive(size = 65536): Uint8Array {
    const bytes = new Uint8Array(size);
    const got = this.#retry(() =>
      this.#platform.syscall(this.#nr.recvfrom, this.#fd, bytes, size, 0, 0, 0),
    );
    return bytes.subarray(0, this.#check('recvfrom', got));
  }

  /** Returns one datagram and its source. Throws SysError. */
  receiveFrom(size = 65536): { readonly bytes: Uint8Array; readonly from: SocketAddress } {
    const bytes = new Uint8Array(size);
    const address = new Uint8Array(sockaddrSize);
    const length = encodeInt(address.length);
    const got = this.#retry(() =>
      this.#platform.syscall(this.#nr.recvfrom, this.#fd, bytes, size, 0, address, length),
    );
    return {
      bytes: bytes.subarray(0, this.#check('recvfrom', got)),
      from: decodeSockaddr(address),
    };
  }

  get localAddress(): SocketAddress {
    return this.#address('getsockname');
  }

  get peerAddress(): SocketAddress {
    return this.#address('getpeername');
  }

  /** Closes the socket; more than once is fine. */
  [Symbol.dispose](): void {
    if (this.#fd < 0) return;
    closeFd(this.#platform, this.#fd);
    this.#fd = -1;
  }

  #address(name: 'getsockname' | 'getpeername'): SocketAddress {
    const address = new Uint8Array(sockaddrSize);
    const length = encodeInt(address.length);
    this.#check(name, this.#platform.syscall(this.#nr[name], this.#fd, address, length));
    return decodeSockaddr(address);
  }

  #setTimeout(milliseconds: number): void {
    const value = encodeTimeout(milliseconds);
    this.setOption(SOL_SOCKET, SO_RCVTIMEO, value);
    this.setOption(SOL_SOCKET, SO_SNDTIMEO, value);
  }

  #retry(call: () => number): number {
    for (;;) {
      const result = call();
      if (result !== -errno.EINTR) return result;
    }
  }

  #check(syscall: string, result: number, address?: SocketAddress): number {
    if (result >= 0) return result;
    const code = result === -errno.EAGAIN ? errno.ETIMEDOUT : -result;
    throw new SysError(
      syscall,
      code,
      address ? `${syscall} ${formatSocketAddress(address)}` : syscall,
    );
  }
}
