import {
  checked,
  closeFd,
  errno,
  type Platform,
  type SyscallArgument,
  type SyscallName,
  SysError,
  syscallNumbers,
} from '@heddle/sys';
import {
  AF_PACKET,
  encodeInt,
  encodePacketSockaddr,
  encodeTimeout,
  MSG_DONTWAIT,
  SO_ATTACH_FILTER,
  SO_RCVBUFFORCE,
  SO_RCVTIMEO,
  SOCK_CLOEXEC,
  SOCK_RAW,
  SOL_PACKET,
  SOL_SOCKET,
} from '@heddle/sys/net';
import type { LabHost } from '../lab-host.ts';
import { Packet } from './packet.ts';

// linux/if_packet.h, linux/if_ether.h
const ETH_P_ALL = 3;
const PACKET_OUTGOING = 4;
const PACKET_STATISTICS = 6;
/** struct sockaddr_ll: family u16, protocol be16, ifindex s32, hatype u16, pkttype u8, ... */
const sockaddrSize = 20;
/** A frame of the largest packet that segmentation offload makes without BIG TCP. */
const largestFrame = 65_536 + 14;
const receiveBuffer = 64 << 20;

/** The packets that a tap captures; the kernel discards the others, which matters for floods. */
type Capture = 'all' | 'icmp' | 'nothing';

/** struct sock_filter: operation, jumps if true and if false, operand. */
type FilterInstruction = readonly [number, number, number, number];

/** A filter for ICMP and ICMPv6 packets without IP options and extension headers. */
const onlyIcmp: readonly FilterInstruction[] = [
  [0x28, 0, 0, 12], // the Ethernet type
  [0x15, 0, 2, 0x0800],
  [0x30, 0, 0, 23], // IPv4's protocol
  [0x15, 3, 4, 1],
  [0x15, 0, 3, 0x86dd],
  [0x30, 0, 0, 20], // IPv6's next header
  [0x15, 0, 1, 58],
  [0x06, 0, 0, 0xffffffff],
  [0x06, 0, 0, 0],
];

/** A packet that a tap has captured. */
export interface Captured {
  /** Direction from the point of view of the interface's network namespace. */
  readonly direction: 'in' | 'out';
  readonly packet: Packet;
}

/**
 * Captures the packets of a network interface in both directions, without those that it sends itself.
 * Incoming packets are captured after XDP and before tc programs, outgoing ones after tc programs.
 * Packets have the kernel's form: with offloads, large packets are not segmented and checksums are
 * `partial`.
 */
export class Tap implements Disposable {
  readonly #platform: Platform;
  readonly #name: string;
  readonly #buffer = new Uint8Array(largestFrame);
  #fd: number;

  private constructor(platform: Platform, name: string, fd: number) {
    this.#platform = platform;
    this.#name = name;
    this.#fd = fd;
  }

  /** Throws SysError, and an Error when there is no such interface. */
  static open(host: LabHost, device: string, captures: Capture = 'all'): Tap {
    const { index } = host.link(device);
    const name = `${device} in ${host.name}`;
    return host.enter(() => Tap.openHere(host.platform, { index, name, captures }));
  }

  /** Opens a tap on an interface of the caller's network namespace. Throws SysError. */
  static openHere(
    platform: Platform,
    device: { readonly index: number; readonly name: string; readonly captures: Capture },
  ): Tap {
    const { index, name, captures } = device;
    const nr = syscallNumbers(platform);
    // Without a protocol the socket captures nothing before bind, in particular of other interfaces.
    const fd = checked(
      'socket',
      platform.syscall(nr.socket, AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0),
      `open tap on ${name}`,
    );
    const tap = new Tap(platform, name, fd);
    const size = encodeInt(receiveBuffer);
    tap.#call('setsockopt', SOL_SOCKET, SO_RCVBUFFORCE, size, size.length);
    if (captures === 'icmp') {
      const filter = encodeFilter(onlyIcmp);
      // struct sock_fprog: length u16, then a pointer.
      const program = new DataView(new ArrayBuffer(16));
      program.setUint16(0, onlyIcmp.length, true);
      program.setBigUint64(8, platform.addressOf(filter), true);
      tap.#call('setsockopt', SOL_SOCKET, SO_ATTACH_FILTER, new Uint8Array(program.buffer), 16);
    }
    const address = encodePacketSockaddr(index, captures === 'nothing' ? 0 : ETH_P_ALL);
    tap.#call('bind', address, address.length);
    return tap;
  }

  /** Sends a frame from the interface. Throws SysError (EMSGSIZE above its MTU). */
  send(frame: Packet | Uint8Array): void {
    const bytes = frame instanceof Packet ? frame.bytes : frame;
    this.#call('sendto', bytes, bytes.length, 0, 0, 0);
  }

  /** Returns the next packet, or undefined when none comes in time. */
  receive(timeoutMs = 2000): Captured | undefined {
    const time = encodeTimeout(timeoutMs);
    this.#call('setsockopt', SOL_SOCKET, SO_RCVTIMEO, time, time.length);
    return this.#receive(0);
  }

  /** Returns the captured packets that are left. Throws an Error when the buffer was too small for all. */
  drain(): Captured[] {
    const captured: Captured[] = [];
    for (;;) {
      const next = this.#receive(MSG_DONTWAIT);
      if (!next) break;
      captured.push(next);
    }
    this.#checkLosses();
    return captured;
  }

  /**
   * Waits for a packet that `matches`, and discards those before it. Throws an Error that describes
   * the discarded ones when there is none in time.
   */
  find(what: string, matches: (captured: Captured) => boolean, timeoutMs = 2000): Captured {
    const others: Captured[] = [];
    const until = performance.now() + timeoutMs;
    for (;;) {
      // 0 would mean no time limit.
      const next = this.receive(Math.max(1, Math.ceil(until - performance.now())));
      if (next && matches(next)) return next;
      if (next) others.push(next);
      if (performance.now() < until) continue;
      this.#checkLosses();
      throw new Error(`find ${what} on ${this.#name}: ${describeCaptured(others)}`);
    }
  }

  /** Closes the socket; more than once is fine. */
  [Symbol.dispose](): void {
    if (this.#fd < 0) return;
    closeFd(this.#platform, this.#fd);
    this.#fd = -1;
  }

  #receive(flags: number): Captured | undefined {
    const address = new Uint8Array(sockaddrSize);
    const length = encodeInt(sockaddrSize);
    const got = this.#raw('recvfrom', this.#buffer, largestFrame, flags, address, length);
    if (got === -errno.EAGAIN) return undefined;
    const size = this.#checked('recvfrom', got);
    const direction = address[10] === PACKET_OUTGOING ? 'out' : 'in';
    return { direction, packet: Packet.parse(this.#buffer.slice(0, size)) };
  }

  /** Throws an Error when packets were lost, because tests rely on having all. */
  #checkLosses(): void {
    // struct tpacket_stats: packets u32, drops u32; reading it sets both to 0.
    const statistics = new Uint8Array(8);
    const length = encodeInt(statistics.length);
    this.#call('getsockopt', SOL_PACKET, PACKET_STATISTICS, statistics, length);
    const lost = new DataView(statistics.buffer).getUint32(4, true);
    if (lost > 0) throw new Error(`tap ${this.#name}: lost ${lost} packets (drain it more often)`);
  }

  #raw(name: SyscallName, ...args: readonly SyscallArgument[]): number {
    for (;;) {
      const result = this.#platform.syscall(
        syscallNumbers(this.#platform)[name],
        this.#fd,
        ...args,
      );
      if (result !== -errno.EINTR) return result;
    }
  }

  #call(name: SyscallName, ...args: readonly SyscallArgument[]): number {
    return this.#checked(name, this.#raw(name, ...args));
  }

  #checked(name: SyscallName, result: number): number {
    if (result < 0) throw new SysError(name, -result, `${name} on ${this.#name}`);
    return result;
  }
}

function encodeFilter(instructions: readonly FilterInstruction[]): Uint8Array {
  const bytes = new Uint8Array(instructions.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [i, [code, ifTrue, ifFalse, k]] of instructions.entries()) {
    view.setUint16(i * 8, code, true);
    view.setUint8(i * 8 + 2, ifTrue);
    view.setUint8(i * 8 + 3, ifFalse);
    view.setUint32(i * 8 + 4, k, true);
  }
  return bytes;
}

/** Returns descriptions of the packets, one below the other. */
export function describeCaptured(captured: readonly Captured[]): string {
  if (captured.length === 0) return 'no packet came';
  return captured.map(({ direction, packet }) => `${direction}\n${packet}`).join('\n\n');
}
