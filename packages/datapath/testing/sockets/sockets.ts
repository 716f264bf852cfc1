import {
  checked,
  closeFd,
  errno,
  errnoNames,
  type Platform,
  type SyscallName,
  SysError,
  syscallNumbers,
} from '@heddle/sys';
import {
  AF_INET,
  AF_INET6,
  AF_UNSPEC,
  decodeSockaddr,
  encodeInt,
  encodeSockaddr,
  encodeTimeout,
  IP_BIND_ADDRESS_NO_PORT,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPPROTO_MPTCP,
  IPV6_V6ONLY,
  MSG_DONTWAIT,
  MSG_FASTOPEN,
  SO_RCVTIMEO,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SO_SNDTIMEO,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_STREAM,
  SOL_SOCKET,
  type SocketAddress,
  sockaddrSize,
} from '@heddle/sys/net';

/** Returns an endpoint as text, for comparison in tests. */
export const at = (address: string, port: number) => `${address}:${port}`;

/**
 * A socket by system calls, so that a test controls exactly which call is made, and observes exactly what
 * the kernel answers. It belongs to the namespace and cgroup that it was opened in; calls block for
 * a second at most.
 */
export class TestSocket implements Disposable {
  readonly fd: number;
  readonly #platform: Platform;
  readonly #family: 4 | 6;

  constructor(platform: Platform, family: 4 | 6, kind: 'tcp' | 'udp' | 'mptcp', fd?: number) {
    this.#platform = platform;
    this.#family = family;
    const nr = syscallNumbers(platform);
    const type = (kind === 'udp' ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC;
    const protocol = kind === 'mptcp' ? IPPROTO_MPTCP : 0;
    const domain = family === 4 ? AF_INET : AF_INET6;
    this.fd = fd ?? checked('socket', platform.syscall(nr.socket, domain, type, protocol));
    const second = encodeTimeout(1000);
    platform.syscall(nr.setsockopt, this.fd, SOL_SOCKET, SO_RCVTIMEO, second, 16);
    platform.syscall(nr.setsockopt, this.fd, SOL_SOCKET, SO_SNDTIMEO, second, 16);
  }

  /** 'ok', or the symbolic errno. */
  connect(address: string, port: number): string {
    const name = this.#sockaddr(address, port);
    return this.#outcome(this.#call('connect', this.fd, name, name.length));
  }

  /** Makes a connected UDP socket an unconnected one again. */
  disconnect(): string {
    return this.#outcome(this.#call('connect', this.fd, new Uint8Array(16), 16));
  }

  bind(address: string, port: number): string {
    const name = this.#sockaddr(address, port);
    return this.#outcome(this.#call('bind', this.fd, name, name.length));
  }

  /** Sets the longest time that a call waits, in milliseconds. */
  waitAtMost(milliseconds: number): void {
    const nr = syscallNumbers(this.#platform);
    const time = encodeTimeout(milliseconds);
    for (const option of [SO_RCVTIMEO, SO_SNDTIMEO]) {
      this.#platform.syscall(nr.setsockopt, this.fd, SOL_SOCKET, option, time, 16);
    }
  }

  reuseAddress(): void {
    this.#call('setsockopt', this.fd, SOL_SOCKET, SO_REUSEADDR, encodeInt(1), 4);
  }

  reusePort(): void {
    this.#call('setsockopt', this.fd, SOL_SOCKET, SO_REUSEPORT, encodeInt(1), 4);
  }

  /** Makes an IPv6 socket refuse IPv4 (IPV6_V6ONLY). */
  onlyIpv6(): void {
    this.#call('setsockopt', this.fd, IPPROTO_IPV6, IPV6_V6ONLY, encodeInt(1), 4);
  }

  /** A bind() to port 0 leaves the choice of a port to connect(). */
  bindWithoutPort(): void {
    this.#call('setsockopt', this.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, encodeInt(1), 4);
  }

  listen(): void {
    checked('listen', this.#call('listen', this.fd, 64));
  }

  accept(): TestSocket {
    const nr = syscallNumbers(this.#platform);
    const fd = checked('accept4', this.#platform.syscall(nr.accept4, this.fd, 0, 0, SOCK_CLOEXEC));
    return new TestSocket(this.#platform, this.#family, 'tcp', fd);
  }

  /** sendto; without a destination send. 'ok', or the symbolic errno. */
  send(text: string, to?: SocketAddress): string {
    const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
    const name = to ? this.#sockaddr(to.address, to.port) : new Uint8Array(0);
    return this.#outcome(this.#call('sendto', this.fd, bytes, bytes.length, 0, name, name.length));
  }

  /** Connects and sends at once (MSG_FASTOPEN). 'ok', or the symbolic errno. */
  fastOpen(text: string, to: SocketAddress): string {
    const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
    const name = this.#sockaddr(to.address, to.port);
    return this.#outcome(
      this.#call('sendto', this.fd, bytes, bytes.length, MSG_FASTOPEN, name, name.length),
    );
  }

  /** recvfrom: the text and the source. Throws SysError. */
  receive(): { text: string; from: string } {
    const bytes = new Uint8Array(2048);
    const name = new Uint8Array(sockaddrSize);
    const length = encodeInt(sockaddrSize);
    const got = checked(
      'recvfrom',
      this.#call('recvfrom', this.fd, bytes, bytes.length, 0, name, length),
    );
    return { text: String.fromCharCode(...bytes.subarray(0, got)), from: this.#text(name) };
  }

  /** Returns the same, without waiting; undefined when there is nothing. Throws SysError. */
  receiveNow(): { text: string; from: string } | undefined {
    const bytes = new Uint8Array(2048);
    const name = new Uint8Array(sockaddrSize);
    const length = encodeInt(sockaddrSize);
    const got = this.#call('recvfrom', this.fd, bytes, bytes.length, MSG_DONTWAIT, name, length);
    if (got === -errno.EAGAIN) return undefined;
    const text = String.fromCharCode(...bytes.subarray(0, checked('recvfrom', got)));
    return { text, from: this.#text(name) };
  }

  /** sendmsg; without a destination to the peer. 'ok', or the symbolic errno. */
  sendMessage(text: string, to?: SocketAddress): string {
    const { headers, parts } = this.#messages([{ text, to }]);
    return this.#outcome(kept(parts, this.#call('sendmsg', this.fd, headers, 0)));
  }

  /** sendmmsg: how many messages were sent, or the symbolic errno. */
  sendMessages(
    messages: readonly { text: string; to?: SocketAddress | undefined }[],
  ): number | string {
    const { headers, parts } = this.#messages(messages);
    const sent = kept(parts, this.#call('sendmmsg', this.fd, headers, messages.length, 0));
    return sent >= 0 ? sent : this.#outcome(sent);
  }

  /** Returns another descriptor of the same socket. */
  duplicate(): TestSocket {
    const fd = checked('dup', this.#call('dup', this.fd));
    return new TestSocket(this.#platform, this.#family, 'udp', fd);
  }

  /** struct mmsghdr for each message; it points into `parts`, which must live as long as the call takes. */
  #messages(messages: readonly { text: string; to?: SocketAddress | undefined }[]) {
    const headers = new Uint8Array(64 * messages.length);
    const view = new DataView(headers.buffer);
    // Behind each other: the vector (16 bytes), the name (28), the text.
    const parts = messages.map(({ text, to }, i) => {
      const part = new Uint8Array(44 + text.length);
      const name = to && this.#sockaddr(to.address, to.port);
      if (name) part.set(name, 16);
      part.set(
        Uint8Array.from(text, (character) => character.charCodeAt(0)),
        44,
      );
      const address = this.#platform.addressOf(part);
      const vector = new DataView(part.buffer);
      vector.setBigUint64(0, address + 44n, true);
      vector.setBigUint64(8, BigInt(text.length), true);
      if (name) {
        view.setBigUint64(64 * i, address + 16n, true);
        view.setUint32(64 * i + 8, name.length, true);
      }
      view.setBigUint64(64 * i + 16, address, true);
      view.setBigUint64(64 * i + 24, 1n, true);
      return part;
    });
    return { headers, parts };
  }

  /** recvmmsg of up to `count` datagrams: sources in order. Throws SysError. */
  receiveMany(count: number): string[] {
    // struct mmsghdr: msghdr (name, namelen, iov, iovlen, control, controllen, flags), len: 64 bytes.
    const headers = new Uint8Array(64 * count);
    const view = new DataView(headers.buffer);
    const names = new Uint8Array(28 * count);
    const buffers = new Uint8Array(64 * count);
    const vectors = new BigUint64Array(2 * count);
    const vectorBytes = new Uint8Array(vectors.buffer);
    for (let i = 0; i < count; i++) {
      vectors[2 * i] = this.#platform.addressOf(buffers) + BigInt(64 * i);
      vectors[2 * i + 1] = 64n;
      view.setBigUint64(64 * i, this.#platform.addressOf(names) + BigInt(28 * i), true);
      view.setUint32(64 * i + 8, 28, true);
      view.setBigUint64(64 * i + 16, this.#platform.addressOf(vectorBytes) + BigInt(16 * i), true);
      view.setBigUint64(64 * i + 24, 1n, true);
    }
    const got = checked('recvmmsg', this.#call('recvmmsg', this.fd, headers, count, 0, 0));
    return Array.from({ length: got }, (_, i) => this.#text(names.subarray(28 * i, 28 * i + 28)));
  }

  peerName(): string {
    return this.#nameBy('getpeername');
  }

  ownName(): string {
    return this.#nameBy('getsockname');
  }

  [Symbol.dispose](): void {
    closeFd(this.#platform, this.fd);
  }

  #nameBy(call: 'getpeername' | 'getsockname'): string {
    const name = new Uint8Array(sockaddrSize);
    checked(call, this.#call(call, this.fd, name, encodeInt(sockaddrSize)));
    return this.#text(name);
  }

  #call(name: SyscallName, ...args: (number | Uint8Array)[]): number {
    for (;;) {
      const result = this.#platform.syscall(syscallNumbers(this.#platform)[name], ...args);
      if (result !== -errno.EINTR) return result;
    }
  }

  #outcome(result: number): string {
    return result >= 0 ? 'ok' : (errnoNames[-result] ?? `errno ${-result}`);
  }

  #sockaddr(address: string, port: number): Uint8Array {
    const isMapped = this.#family === 6 && !address.includes(':');
    return encodeSockaddr({ address: isMapped ? `::ffff:${address}` : address, port });
  }

  #text(name: Uint8Array): string {
    // recvfrom() of a TCP socket does not fill in a source.
    if (name[0] === AF_UNSPEC) return '';
    const { address, port } = decodeSockaddr(name);
    return at(address, port);
  }
}

/** Returns the result of a call that has used memory by its address. */
function kept(memory: readonly Uint8Array[], result: number): number {
  return memory.length > 0 ? result : 0;
}

/** Returns the errno of a call that is to fail. */
export function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof SysError) return error.code;
    throw error;
  }
  return 'ok';
}
