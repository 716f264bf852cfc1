import { checked, closeFd, errno, type Platform, syscallNumbers } from '@heddle/sys';

// sys/epoll.h
export const EPOLLIN = 0x001;
export const EPOLLOUT = 0x004;
export const EPOLLERR = 0x008;
export const EPOLLHUP = 0x010;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
const EPOLL_CLOEXEC = 0o2000000;

const eventsAtOnce = 32;

/**
 * Waiting on many descriptors, for reading and for writing, behind the one that the Platform
 * watches: an epoll descriptor is readable when one of its own is ready.
 */
export class Epoll implements Disposable {
  readonly #platform: Platform;
  readonly #fd: number;
  readonly #watch: Disposable;
  /** x86-64 packs struct epoll_event (events u32, data u64) to 12 bytes, arm64 aligns it to 16. */
  readonly #stride: number;
  readonly #events: Uint8Array;

  /** Calls `ready` with a descriptor's token and its EPOLL* bits. Throws SysError. */
  constructor(platform: Platform, ready: (token: number, events: number) => void) {
    this.#platform = platform;
    this.#stride = platform.arch === 'x64' ? 12 : 16;
    this.#events = new Uint8Array(this.#stride * eventsAtOnce);
    this.#fd = checked(
      'epoll_create1',
      platform.syscall(syscallNumbers(platform).epoll_create1, EPOLL_CLOEXEC),
      'make epoll',
    );
    try {
      this.#watch = platform.onReadable(this.#fd, () => this.#wait(ready));
    } catch (error) {
      closeFd(platform, this.#fd);
      throw error;
    }
  }

  /**
   * Waits on `fd` for `events`, and always for EPOLLERR and EPOLLHUP. `token` (u32) names it to
   * `ready`; a number of its own per use of `fd` keeps events of a closed descriptor from being
   * taken for events of the next one with the same number.
   */
  add(fd: number, token: number, events: number): void {
    this.#control(EPOLL_CTL_ADD, fd, token, events);
  }

  change(fd: number, token: number, events: number): void {
    this.#control(EPOLL_CTL_MOD, fd, token, events);
  }

  /** To be called before `fd` is closed, which takes it out as well: so a refusal does no harm. */
  remove(fd: number): void {
    const nr = syscallNumbers(this.#platform).epoll_ctl;
    this.#platform.syscall(nr, this.#fd, EPOLL_CTL_DEL, fd, new Uint8Array(this.#stride));
  }

  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
    closeFd(this.#platform, this.#fd);
  }

  #control(operation: number, fd: number, token: number, events: number): void {
    const event = new Uint8Array(this.#stride);
    const view = new DataView(event.buffer);
    view.setUint32(0, events, true);
    view.setUint32(this.#dataAt, token, true);
    const nr = syscallNumbers(this.#platform).epoll_ctl;
    checked('epoll_ctl', this.#platform.syscall(nr, this.#fd, operation, fd, event));
  }

  get #dataAt(): number {
    return this.#stride - 8;
  }

  #wait(ready: (token: number, events: number) => void): void {
    const nr = syscallNumbers(this.#platform).epoll_pwait;
    const count = this.#platform.syscall(nr, this.#fd, this.#events, eventsAtOnce, 0, 0, 0);
    if (count === -errno.EINTR) return;
    checked('epoll_pwait', count);
    // A copy: handling one event may lead to another wait.
    const view = new DataView(this.#events.slice(0, count * this.#stride).buffer);
    for (let at = 0; at < count * this.#stride; at += this.#stride) {
      ready(view.getUint32(at + this.#dataAt, true), view.getUint32(at, true));
    }
  }
}
