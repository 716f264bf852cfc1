import type { LabHost } from '@heddle/lab';
import { checked, closeFd, errno, type Platform, SysError, syscallNumbers } from '@heddle/sys';
import {
  AF_PACKET,
  encodeInt,
  encodePacketSockaddr,
  SOCK_CLOEXEC,
  SOCK_RAW,
  SOL_PACKET,
} from '@heddle/sys/net';
import { frameRoom } from './flood-frames.ts';

// linux/if_packet.h
const PACKET_QDISC_BYPASS = 20;
/** struct mmsghdr: a struct msghdr of 56 bytes, then the length that was sent. */
const messageSize = 64;
/** struct iovec */
const vectorSize = 16;
/** syscall_64.tbl, asm-generic/unistd.h */
const sendmmsg = { x64: 307, arm64: 269 } as const;

/** Sends frames from a device, many with one system call, past its queue. */
export class FrameSender implements Disposable {
  readonly #platform: Platform;
  readonly #fd: number;
  readonly #frames: { readonly bytes: Uint8Array; readonly view: DataView }[];
  readonly #memory: Uint8Array;
  readonly #vectors: DataView;
  readonly #messages: Uint8Array;

  /** `most`: frames of one call. Throws SysError. */
  constructor(place: LabHost, device: string, most: number) {
    const { platform } = place;
    const { index } = place.link(device);
    const nr = syscallNumbers(platform);
    this.#platform = platform;
    this.#fd = place.enter(() =>
      checked('socket', platform.syscall(nr.socket, AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)),
    );
    const on = encodeInt(1);
    checked(
      'setsockopt',
      platform.syscall(nr.setsockopt, this.#fd, SOL_PACKET, PACKET_QDISC_BYPASS, on, on.length),
    );
    const address = encodePacketSockaddr(index, 0);
    checked('bind', platform.syscall(nr.bind, this.#fd, address, address.length));

    this.#memory = new Uint8Array(most * frameRoom);
    const vectors = new Uint8Array(most * vectorSize);
    this.#vectors = new DataView(vectors.buffer);
    this.#messages = new Uint8Array(most * messageSize);
    const messages = new DataView(this.#messages.buffer);
    const start = platform.addressOf(this.#memory);
    const firstVector = platform.addressOf(vectors);
    this.#frames = Array.from({ length: most }, (_, i) => {
      this.#vectors.setBigUint64(i * vectorSize, start + BigInt(i * frameRoom), true);
      messages.setBigUint64(i * messageSize + 16, firstVector + BigInt(i * vectorSize), true);
      messages.setBigUint64(i * messageSize + 24, 1n, true);
      const bytes = this.#memory.subarray(i * frameRoom, (i + 1) * frameRoom);
      return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, frameRoom) };
    });
  }

  /** Has `write` write `count` frames, and sends them. Returns the nanoseconds that the kernel took. */
  send(count: number, write: (into: Uint8Array, view: DataView) => number): number {
    for (let i = 0; i < count; i++) {
      const { bytes, view } = this.#frames[i]!;
      this.#vectors.setBigUint64(i * vectorSize + 8, BigInt(write(bytes, view)), true);
    }
    const started = this.#platform.monotonicNs();
    for (let sent = 0; sent < count; ) {
      const result = this.#platform.syscall(
        sendmmsg[this.#platform.arch],
        this.#fd,
        this.#messages.subarray(sent * messageSize),
        count - sent,
        0,
      );
      if (result >= 0) sent += result;
      // The other end is slower: nothing was sent, so it is sent again.
      else if (result !== -errno.ENOBUFS && result !== -errno.EINTR) {
        throw new SysError('sendmmsg', -result);
      }
    }
    return Number(this.#platform.monotonicNs() - started);
  }

  [Symbol.dispose](): void {
    closeFd(this.#platform, this.#fd);
  }
}
