import {
  checked,
  closeFd,
  decodeCString,
  encodeCString,
  errno,
  type Platform,
  syscallNumbers,
} from '@heddle/sys';

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

export interface InotifyEvent {
  /** The watch that it is about; -1 for an overflow of the queue. */
  readonly watch: number;
  readonly mask: number;
  /** Ties the two halves of a rename together; 0 otherwise. */
  readonly cookie: number;
  /** Name in the watched directory; empty when it is about the directory itself. */
  readonly name: string;
}

/** An inotify instance. Throws SysError (EMFILE: more than fs.inotify.max_user_instances). */
export class Inotify implements Disposable {
  readonly fd: number;
  readonly #platform: Platform;
  readonly #buffer = new Uint8Array(65536);

  constructor(platform: Platform) {
    this.#platform = platform;
    this.fd = checked(
      'inotify_init1',
      platform.syscall(syscallNumbers(platform).inotify_init1, IN_NONBLOCK | IN_CLOEXEC),
      'watch folder',
    );
  }

  /** Watches a path (its target, if it is a link); the same number for the same inode. Or -errno. */
  add(path: string, mask: number): number {
    const nr = syscallNumbers(this.#platform).inotify_add_watch;
    return this.#platform.syscall(nr, this.fd, encodeCString(path), mask);
  }

  /** Ends a watch; one that the kernel ended already is fine. */
  remove(watch: number): void {
    this.#platform.syscall(syscallNumbers(this.#platform).inotify_rm_watch, this.fd, watch);
  }

  /** All events that wait, without blocking. */
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

/** struct inotify_event: wd s32, mask u32, cookie u32, len u32, name padded with NULs to len. */
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
