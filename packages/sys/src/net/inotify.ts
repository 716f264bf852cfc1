import { errno } from '../errno.ts';
import { checked } from '../errors.ts';
import { closeFd } from '../files.ts';
import type { Platform } from '../platform.ts';
import { syscallNumbers } from '../syscalls.ts';
import { decodeCString, encodeCString } from '../utf8.ts';

// Masks of linux/inotify.h.
export const IN_CLOSE_WRITE = 0x8;
export const IN_MOVED_FROM = 0x40;
export const IN_MOVED_TO = 0x80;
export const IN_CREATE = 0x100;
export const IN_DELETE = 0x200;
export const IN_DELETE_SELF = 0x400;
export const IN_MOVE_SELF = 0x800;
export const IN_UNMOUNT = 0x2000;
export const IN_Q_OVERFLOW = 0x4000;
export const IN_IGNORED = 0x8000;
export const IN_ONLYDIR = 0x1000000;

const IN_NONBLOCK = 0o4000;
const IN_CLOEXEC = 0o2000000;

/** One event of an inotify instance. */
export interface InotifyEvent {
  /** Number of the watch; -1 when the queue has overflowed (IN_Q_OVERFLOW). */
  readonly watch: number;
  /** IN_* bits. */
  readonly mask: number;
  /** The same number in both events of one rename; 0 otherwise. */
  readonly cookie: number;
  /** Name in the watched directory; empty when the event concerns the directory itself. */
  readonly name: string;
}

/** An inotify instance (inotify(7)). */
export class Inotify implements Disposable {
  readonly fd: number;
  readonly #platform: Platform;
  readonly #buffer = new Uint8Array(65536);

  /** Throws SysError (EMFILE beyond the limit fs.inotify.max_user_instances). */
  constructor(platform: Platform) {
    this.#platform = platform;
    this.fd = checked(
      'inotify_init1',
      platform.syscall(syscallNumbers(platform).inotify_init1, IN_NONBLOCK | IN_CLOEXEC),
      'watch folder',
    );
  }

  /**
   * Watches a path, or the target of a link, for the events in `mask`. Returns the number of the
   * watch, which is the same for the same inode, or -errno.
   */
  add(path: string, mask: number): number {
    const nr = syscallNumbers(this.#platform).inotify_add_watch;
    return this.#platform.syscall(nr, this.fd, encodeCString(path), mask);
  }

  /** Ends a watch; one that the kernel has ended already is fine. */
  remove(watch: number): void {
    this.#platform.syscall(syscallNumbers(this.#platform).inotify_rm_watch, this.fd, watch);
  }

  /** Returns all queued events without waiting. Throws SysError. */
  read(): InotifyEvent[] {
    const events: InotifyEvent[] = [];
    const nr = syscallNumbers(this.#platform).read;
    for (;;) {
      const got = this.#platform.syscall(nr, this.fd, this.#buffer, this.#buffer.length);
      if (got === -errno.EAGAIN) return events;
      if (got === -errno.EINTR) continue;
      checked('read', got, 'read inotify events');
      decodeEvents(this.#buffer.subarray(0, got), events);
    }
  }

  [Symbol.dispose](): void {
    closeFd(this.#platform, this.fd);
  }
}

/** Decodes structs inotify_event: wd s32, mask u32, cookie u32, len u32, name padded with NULs. */
function decodeEvents(bytes: Uint8Array, events: InotifyEvent[]): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length; ) {
    const length = view.getUint32(at + 12, true);
    events.push({
      watch: view.getInt32(at, true),
      mask: view.getUint32(at + 4, true),
      cookie: view.getUint32(at + 8, true),
      name: decodeCString(bytes.subarray(at + 16, at + 16 + length)),
    });
    at += 16 + length;
  }
}
