import {
  checked,
  closeFd,
  encodeCString,
  encodeUtf8,
  errno,
  inodeOfFd,
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

/** Errors of paths whose process or file is gone; a zombie's path gives EACCES. */
const gone: ReadonlySet<string> = new Set(['ENOENT', 'ESRCH', 'EACCES']);

/** Advice for a failure to create or enter a namespace. */
const remedies = { EPERM: 'run as root or with CAP_SYS_ADMIN' };

// Namespaces belong to threads (namespaces(7)), so this names the calling thread's.
const ownNamespace = '/proc/thread-self/ns/net';

/** An open network namespace. It exists as long as it is open, mounted, or used by a process. */
export class NetworkNamespace implements Disposable {
  readonly #platform: Platform;
  /** Negative once closed. */
  #descriptor: number;

  private constructor(platform: Platform, fd: number) {
    this.#platform = platform;
    this.#descriptor = fd;
  }

  /**
   * Creates an empty namespace, whose loopback is down. With a `path` it is mounted there and
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
      switchTo(platform, original.fd, 'return to the original namespace');
    }
    try {
      if (path !== undefined) namespace.mount(path);
      return namespace;
    } catch (error) {
      namespace[Symbol.dispose]();
      throw error;
    }
  }

  /** Takes over a descriptor of a namespace, e.g. one that another process has sent. */
  static adopt(platform: Platform, fd: number): NetworkNamespace {
    return new NetworkNamespace(platform, fd);
  }

  /** Opens the namespace that is mounted on `path`, or e.g. `/proc/<pid>/ns/net`. Throws SysError. */
  static open(platform: Platform, path: string): NetworkNamespace {
    return new NetworkNamespace(platform, openFile(platform, path).detach());
  }

  /**
   * Opens the namespace with that inode number by the first of `paths` that still leads to it: since
   * a path was found, its process may have ended or changed its namespace, or its mount may be gone.
   * Returns undefined when none of the paths leads to it. Throws SysError.
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

  /** Opens the namespace of the calling thread. Throws SysError. */
  static current(platform: Platform): NetworkNamespace {
    return NetworkNamespace.open(platform, ownNamespace);
  }

  /** The descriptor, by which requests name the namespace. Throws an Error once it is closed. */
  get fd(): number {
    if (this.#descriptor < 0) throw new Error('use network namespace: it is closed');
    return this.#descriptor;
  }

  /** Inode number, which identifies the namespace: the n of `net:[n]` in /proc/<pid>/ns/net. */
  get inode(): bigint {
    return inodeOfFd(this.#platform, this.fd);
  }

  /** The value of bpf_get_netns_cookie() for sockets of this namespace (Linux 5.14). */
  get cookie(): bigint {
    return this.enter(() => netnsCookie(this.#platform));
  }

  /**
   * Runs `work` inside the namespace and returns to the previous one, also when `work` throws.
   * Sockets and processes that `work` opens stay inside. `work` must be synchronous, because other
   * code of the thread would run in this namespace otherwise. Throws SysError, and TypeError when
   * `work` returns a promise.
   */
  enter<Result>(work: () => Result): Result {
    return enterNamespace(this.#platform, this.fd, work);
  }

  /**
   * Mounts the namespace on a new file at `path`, so that it outlives the process and other
   * processes can open it. `deleteNamespace` removes it. Throws SysError.
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

  /** Writes a setting of the namespace, e.g. `net/ipv4/ip_forward` below /proc/sys. Throws SysError. */
  setSysctl(name: string, value: string | number): void {
    this.enter(() => writeFile(this.#platform, `/proc/sys/${name}`, encodeUtf8(`${value}`)));
  }

  /** Closes the descriptor; more than once is fine. */
  [Symbol.dispose](): void {
    if (this.#descriptor < 0) return;
    closeFd(this.#platform, this.#descriptor);
    this.#descriptor = -1;
  }
}

/** Does what NetworkNamespace.enter does for the namespace that the descriptor `fd` refers to. */
export function enterNamespace<Result>(platform: Platform, fd: number, work: () => Result): Result {
  using original = NetworkNamespace.current(platform);
  switchTo(platform, fd, 'enter namespace');
  let result: Result;
  try {
    result = work();
  } finally {
    switchTo(platform, original.fd, 'return to the original namespace');
  }
  if (typeof (result as { then?: unknown } | null | undefined)?.then === 'function') {
    throw new TypeError('enter namespace: the work is asynchronous and would run outside of it');
  }
  return result;
}

function switchTo(platform: Platform, fd: number, what: string): void {
  const nr = syscallNumbers(platform).setns;
  checked('setns', platform.syscall(nr, fd, CLONE_NEWNET), what, remedies);
}

/**
 * Unmounts the namespace on `path` and removes the file; a missing one is fine. Processes and
 * sockets inside keep the namespace until they end. Throws SysError.
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

/** Returns the cookie of the calling thread's namespace (Linux 5.14). Throws SysError. */
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
