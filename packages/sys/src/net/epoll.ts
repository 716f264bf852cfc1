import { errno } from '../errno.ts';
import { checked } from '../errors.ts';
import { closeFd } from '../files.ts';
import type { Platform } from '../platform.ts';
import { syscallNumbers } from '../syscalls.ts';

// sys/epoll.h
export const EPOLLIN = 0x001;
export const EPOLLOUT = 0x004;
export const EPOLLERR = 0x008;
export const EPOLLHUP = 0x010;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
const EPOLL_CLOEXEC = 0o2000000;

const eventsPerWait = 256;

/**
 * An epoll instance (epoll(7)): waits for many descriptors, for reading and for writing. Its own
 * descriptor is readable while one of them is ready, so `Platform.onReadable` can watch all of
 * them at once.
 */
export class Epoll implements Disposable {
  readonly #platform: Platform;
  readonly #nr: ReturnType<typeof syscallNumbers>;
  /** x86-64 packs struct epoll_event (events u32, data u64) to 12 bytes, arm64 aligns it to 16. */
  readonly #stride: number;
  readonly #events: Uint8Array;
  /** Negative once closed. */
  #descriptor: number;

  /** Throws SysError. */
  constructor(platform: Platform) {
    this.#platform = platform;
    this.#nr = syscallNumbers(platform);
    this.#stride = platform.arch === 'x64' ? 12 : 16;
    this.#events = new Uint8Array(this.#stride * eventsPerWait);
    this.#descriptor = checked(
      'epoll_create1',
      platform.syscall(this.#nr.epoll_create1, EPOLL_CLOEXEC),
      'create epoll instance',
    );
  }

  /** The descriptor. Throws an Error once it is closed. */
  get fd(): number {
    if (this.#descriptor < 0) throw new Error('use epoll instance: it is closed');
    return this.#descriptor;
  }

  /**
   * Adds `fd`, which `wait` reports with `token` (u32) when one of `events` (EPOLL*) holds; EPOLLERR
   * and EPOLLHUP are always among them. With a token of its own for each use of a descriptor
   * number, no event of a closed descriptor is mistaken for one of its successor. Throws SysError.
   */
  add(fd: number, token: number, events: number): void {
    this.#control(EPOLL_CTL_ADD, fd, token, events);
  }

  /** Changes the events and the token of `fd`. Throws SysError. */
  change(fd: number, token: number, events: number): void {
    this.#control(EPOLL_CTL_MOD, fd, token, events);
  }

  /** Removes `fd`. An error is ignored: the descriptor is closed next, which removes it as well. */
  remove(fd: number): void {
    this.#platform.syscall(
      this.#nr.epoll_ctl,
      this.fd,
      EPOLL_CTL_DEL,
      fd,
      new Uint8Array(this.#stride),
    );
  }

  /**
   * Waits up to `milliseconds` (0: not at all, -1: without end) and calls `ready` with the token
   * and the EPOLL* bits of each descriptor that is ready. Returns their number; 0 also when a
   * signal interrupted the wait. Throws SysError.
   */
  wait(milliseconds: number, ready: (token: number, events: number) => void): number {
    const count = this.#platform.syscall(
      this.#nr.epoll_pwait,
      this.fd,
      this.#events,
      eventsPerWait,
      milliseconds,
      0,
      0,
    );
    if (count === -errno.EINTR) return 0;
    checked('epoll_pwait', count);
    // A copy, because `ready` may wait again.
    const events = this.#events.slice(0, count * this.#stride);
    const view = new DataView(events.buffer);
    for (let at = 0; at < events.length; at += this.#stride) {
      ready(view.getUint32(at + this.#stride - 8, true), view.getUint32(at, true));
    }
    return count;
  }

  /** Closes the instance; more than once is fine. */
  [Symbol.dispose](): void {
    if (this.#descriptor < 0) return;
    closeFd(this.#platform, this.#descriptor);
    this.#descriptor = -1;
  }

  #control(operation: number, fd: number, token: number, events: number): void {
    const event = new Uint8Array(this.#stride);
    const view = new DataView(event.buffer);
    view.setUint32(0, events, true);
    view.setUint32(this.#stride - 8, token, true);
    const result = this.#platform.syscall(this.#nr.epoll_ctl, this.fd, operation, fd, event);
    checked('epoll_ctl', result);
  }
}
