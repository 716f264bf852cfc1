import {
  checked,
  closeFd,
  encodeCString,
  encodeUtf8,
  errno,
  O_CREAT,
  openFile,
  type Platform,
  removeFile,
  SysError,
  syscallNumbers,
  writeFile,
} from '@heddle/sys';
import {
  AF_UNIX,
  encodeInt,
  SO_NETNS_COOKIE,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOL_SOCKET,
} from '@heddle/sys/net';

const O_EXCL = 0o200;
const CLONE_NEWNET = 0x40000000;
const MS_BIND = 0x1000;
const MNT_DETACH = 2;
const AT_EMPTY_PATH = 0x1000;

/** Of a path to a namespace that was there: EACCES is a zombie's. */
const gone: ReadonlySet<string> = new Set(['ENOENT', 'ESRCH', 'EACCES']);

// The calling thread's, not the process': namespaces belong to threads (namespaces(7)).
const ownNamespace = '/proc/thread-self/ns/net';

/** An open network namespace. It lives on as long as it is open, mounted, or used by a process. */
export class NetworkNamespace implements Disposable {
  readonly #platform: Platform;
  /** Negative once closed. */
  #descriptor: number;

  private constructor(platform: Platform, fd: number) {
    this.#platform = platform;
    this.#descriptor = fd;
  }

  /**
   * Makes an empty namespace (its loopback is down). Given a `path`, it is mounted there and
   * outlives the process; otherwise it ends with its last user. Throws SysError, and then leaves
   * nothing behind.
   */
  static create(platform: Platform, path?: string): NetworkNamespace {
    const nr = syscallNumbers(platform);
    using original = NetworkNamespace.current(platform);
    checked('unshare', platform.syscall(nr.unshare, CLONE_NEWNET), 'create namespace', remedies);
    let namespace: NetworkNamespace;
    try {
      namespace = NetworkNamespace.current(platform);
    } finally {
      original.#switchTo('return to the original namespace');
    }
    try {
      if (path !== undefined) namespace.mount(path);
      return namespace;
    } catch (error) {
      namespace[Symbol.dispose]();
      throw error;
    }
  }

  /** Opens the namespace that is mounted on `path`, or e.g. `/proc/<pid>/ns/net`. Throws SysError. */
  static open(platform: Platform, path: string): NetworkNamespace {
    return new NetworkNamespace(platform, openFile(platform, path).detach());
  }

  /**
   * Opens the namespace with that inode number, by the first of `paths` that leads to it: meanwhile a
   * process may have ended or gone elsewhere, and a file be no mount any more. Undefined when none
   * does. Throws SysError.
   */
  static openFirst(
    platform: Platform,
    paths: Iterable<string>,
    inode: number,
  ): NetworkNamespace | undefined {
    for (const path of paths) {
      let namespace: NetworkNamespace;
      try {
        namespace = NetworkNamespace.open(platform, path);
      } catch (error) {
        if (error instanceof SysError && gone.has(error.code)) continue;
        throw error;
      }
      if (namespace.inode === BigInt(inode)) return namespace;
      namespace[Symbol.dispose]();
    }
    return undefined;
  }

  /** The namespace of the calling thread. Throws SysError. */
  static current(platform: Platform): NetworkNamespace {
    return NetworkNamespace.open(platform, ownNamespace);
  }

  /** The descriptor, for requests that name a namespace by one. Throws Error once it is closed. */
  get fd(): number {
    if (this.#descriptor < 0) throw new Error('use network namespace: it is closed');
    return this.#descriptor;
  }

  /** Inode number, which tells namespaces apart: the n of `net:[n]` in /proc/<pid>/ns/net. */
  get inode(): bigint {
    const bytes = new Uint8Array(256);
    const nr = syscallNumbers(this.#platform);
    checked(
      'fstatat',
      this.#platform.syscall(nr.fstatat, this.fd, encodeCString(''), bytes, AT_EMPTY_PATH),
      'inspect namespace',
    );
    // st_ino is the second 64-bit field of struct stat on x86-64 and arm64.
    return new DataView(bytes.buffer).getBigUint64(8, true);
  }

  /** What bpf_get_netns_cookie() returns for sockets of this namespace (Linux 5.14). */
  get cookie(): bigint {
    return this.enter(() => netnsCookie(this.#platform));
  }

  /**
   * Runs `work` inside the namespace and returns to the one before, whatever happens. Sockets and
   * processes that `work` opens stay inside. It must be synchronous: other code of the thread would
   * run in the wrong namespace otherwise. Throws SysError, and TypeError when `work` is
   * asynchronous.
   */
  enter<Result>(work: () => Result): Result {
    using original = NetworkNamespace.current(this.#platform);
    this.#switchTo('enter namespace');
    let result: Result;
    try {
      result = work();
    } finally {
      original.#switchTo('return to the original namespace');
    }
    if (typeof (result as { then?: unknown } | null | undefined)?.then === 'function') {
      throw new TypeError('enter namespace: the work is asynchronous and would run outside of it');
    }
    return result;
  }

  /**
   * Mounts the namespace on `path`, a file that is made for it and must not exist, so that it
   * outlives the process and can be opened by others. `deleteNamespace` undoes it. Throws SysError.
   */
  mount(path: string): void {
    const nr = syscallNumbers(this.#platform);
    openFile(this.#platform, path, O_CREAT | O_EXCL, 0o444)[Symbol.dispose]();
    const result = this.#platform.syscall(
      nr.mount,
      encodeCString(`/proc/self/fd/${this.fd}`),
      encodeCString(path),
      encodeCString('none'),
      MS_BIND,
      0,
    );
    if (result >= 0) return;
    removeFile(this.#platform, path);
    throw new SysError('mount', -result, `mount namespace ${path}`);
  }

  /**
   * Writes a setting of the namespace, e.g. `net/ipv4/ip_forward` below /proc/sys. Throws SysError.
   */
  setSysctl(name: string, value: string | number): void {
    this.enter(() => writeFile(this.#platform, `/proc/sys/${name}`, encodeUtf8(`${value}`)));
  }

  /** Closes the descriptor; more than once is fine. */
  [Symbol.dispose](): void {
    if (this.#descriptor < 0) return;
    closeFd(this.#platform, this.#descriptor);
    this.#descriptor = -1;
  }

  #switchTo(what: string): void {
    const nr = syscallNumbers(this.#platform);
    checked('setns', this.#platform.syscall(nr.setns, this.fd, CLONE_NEWNET), what, remedies);
  }
}

/** To make a namespace or to enter one. */
const remedies = { EPERM: 'run as root or with CAP_SYS_ADMIN' };

/**
 * Unmounts the namespace on `path` and removes the file; a missing one is fine. Processes and
 * sockets inside keep it alive until they end. Throws SysError.
 */
export function deleteNamespace(platform: Platform, path: string): void {
  const nr = syscallNumbers(platform);
  for (;;) {
    const result = platform.syscall(nr.umount2, encodeCString(path), MNT_DETACH);
    // EINVAL: nothing (more) is mounted there.
    if (result === -errno.EINVAL || result === -errno.ENOENT) break;
    checked('umount2', result, `unmount namespace ${path}`);
  }
  removeFile(platform, path);
}

/** Cookie of the calling thread's namespace (Linux 5.14). Throws SysError. */
export function netnsCookie(platform: Platform): bigint {
  const nr = syscallNumbers(platform);
  const fd = checked(
    'socket',
    platform.syscall(nr.socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0),
    'open socket for namespace cookie',
  );
  try {
    const cookie = new Uint8Array(8);
    const length = encodeInt(cookie.length);
    checked(
      'getsockopt',
      platform.syscall(nr.getsockopt, fd, SOL_SOCKET, SO_NETNS_COOKIE, cookie, length),
      'read namespace cookie',
    );
    return new DataView(cookie.buffer).getBigUint64(0, true);
  } finally {
    closeFd(platform, fd);
  }
}
