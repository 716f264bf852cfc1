import {
  allOrNothing,
  checked,
  decodeUtf8,
  encodeCString,
  errno,
  makeDirectory,
  O_DIRECTORY,
  O_RDONLY,
  type OpenFile,
  openFile,
  type Platform,
  readFile,
  syscallNumbers,
} from '@heddle/sys';

const LOCK_EX = 2;
const LOCK_NB = 4;
const AT_EMPTY_PATH = 0x1000;
const AT_FDCWD = -100;
const pauseMs = 50;

/** Another process has the lock of a folder of pins. */
export class PinsInUse extends Error {
  override readonly name = 'PinsInUse';

  /** `holder` is its process id; undefined when it is not visible to this process. */
  constructor(folder: string, holder: number | undefined) {
    const who = holder === undefined ? 'another agent' : `another agent (process ${holder})`;
    super(`take over ${folder}: ${who} works with the maps and links pinned there (stop it first)`);
  }
}

/**
 * An exclusive lock of a folder of pins: two agents would undo each other's work. It is a lock on the folder itself
 * (flock(2); files of a bpf file system can't be opened, directories can), so it is the same in every mount and
 * container, and the kernel releases it when the process ends.
 */
export class PinLock implements Disposable {
  readonly #platform: Platform;
  readonly #folder: string;
  #locked: OpenFile;

  /**
   * Makes the folder if it is missing. Waits up to `waitMs` for another process to release the lock: an earlier agent may
   * be about to end. Throws PinsInUse, SysError.
   */
  constructor(platform: Platform, folder: string, waitMs = 0) {
    this.#platform = platform;
    this.#folder = folder;
    this.#locked = lockedFolder(platform, folder, waitMs);
  }

  /** True when the folder at the path is the one that is locked. */
  get isCurrent(): boolean {
    const wanted = identityOf(this.#platform, AT_FDCWD, this.#folder, 0);
    return (
      wanted !== undefined &&
      wanted === identityOf(this.#platform, this.#locked.fd, '', AT_EMPTY_PATH)
    );
  }

  /**
   * Locks the folder that is at the path now, and makes it if it is missing. Throws SysError, and PinsInUse when another
   * process has locked it.
   */
  renew(): void {
    const locked = lockedFolder(this.#platform, this.#folder, 0);
    this.#locked[Symbol.dispose]();
    this.#locked = locked;
  }

  /** Locks the folder at the path if it is another one than the one that is locked. Throws PinsInUse, SysError. */
  keep(): void {
    if (!this.isCurrent) this.renew();
  }

  [Symbol.dispose](): void {
    this.#locked[Symbol.dispose]();
  }
}

function lockedFolder(platform: Platform, folder: string, waitMs: number): OpenFile {
  makeDirectory(platform, folder);
  return allOrNothing((opened) => {
    const directory = opened.use(openFile(platform, folder, O_RDONLY | O_DIRECTORY));
    lock(platform, directory.fd, folder, waitMs);
    return directory;
  });
}

function lock(platform: Platform, fd: number, folder: string, waitMs: number): void {
  const nr = syscallNumbers(platform);
  const until = platform.monotonicNs() + BigInt(waitMs) * 1_000_000n;
  // struct timespec: seconds, nanoseconds (8 bytes each).
  const pause = new Uint8Array(new BigInt64Array([0n, BigInt(pauseMs) * 1_000_000n]).buffer);
  for (let waits = false; ; ) {
    const result = platform.syscall(nr.flock, fd, LOCK_EX | LOCK_NB);
    if (result === -errno.EINTR) continue;
    if (result !== -errno.EAGAIN) {
      checked('flock', result, `lock ${folder}`);
      return;
    }
    if (platform.monotonicNs() >= until) throw new PinsInUse(folder, holderOf(platform, fd));
    if (!waits) {
      const seconds = Math.ceil(waitMs / 1000);
      const message = `another agent works with ${folder}: waiting up to ${seconds} s for it to end`;
      platform.log('info', message, { process: holderOf(platform, fd) });
      waits = true;
    }
    platform.syscall(nr.nanosleep, pause, 0);
  }
}

/** Returns the process that has the lock, by proc_locks(5), or undefined when it is not visible here. */
function holderOf(platform: Platform, fd: number): number | undefined {
  const identity = identityOf(platform, fd, '', AT_EMPTY_PATH);
  const locks = decodeUtf8(readFile(platform, '/proc/locks'));
  for (const [, process, file] of locks.matchAll(/^\d+: FLOCK +\S+ +\S+ +(\d+) (\S+) /gm)) {
    if (file === identity && process !== '0') return Number(process);
  }
  return undefined;
}

/** Returns the device and inode number of a file, as /proc/locks has them, or undefined when it is missing. */
function identityOf(
  platform: Platform,
  folder: number,
  path: string,
  flags: number,
): string | undefined {
  const status = new Uint8Array(256);
  const nr = syscallNumbers(platform).fstatat;
  const result = platform.syscall(nr, folder, encodeCString(path), status, flags);
  if (result === -errno.ENOENT) return undefined;
  checked('fstatat', result, `look at ${path === '' ? 'locked folder' : path}`);
  // struct stat begins with st_dev and st_ino on x86-64 and arm64. A device's number has its minor
  // part in bits 0 to 7 and 20 to 31, its major part in bits 8 to 19 (include/linux/kdev_t.h).
  const view = new DataView(status.buffer);
  const device = view.getUint32(0, true);
  const hex = (number: number) => number.toString(16).padStart(2, '0');
  const minor = (device & 0xff) | ((device >>> 12) & 0xfff00);
  return `${hex((device >>> 8) & 0xfff)}:${hex(minor)}:${view.getBigUint64(8, true)}`;
}
