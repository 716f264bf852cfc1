import { errno } from './errno.ts';
import { checked, SysError } from './errors.ts';
import type { Platform } from './platform.ts';
import { syscallNumbers } from './syscalls.ts';
import { decodeCString, encodeCString } from './utf8.ts';

// The file operations of the portable core, by system calls (linux/fcntl.h).
const AT_FDCWD = -100;
const AT_REMOVEDIR = 0x200;
const AT_EMPTY_PATH = 0x1000;
export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_CREAT = 0o100;
export const O_TRUNC = 0o1000;
export const O_DIRECTORY = 0o200000;
export const O_CLOEXEC = 0o2000000;

/** An open file or directory. Disposal closes it, and `fd` throws from then on. */
export class OpenFile implements Disposable {
  /** The path at which it was opened. */
  readonly path: string;
  readonly #platform: Platform;
  /** Negative once closed. */
  #fd: number;

  /** Takes over `fd`. */
  constructor(platform: Platform, fd: number, path: string) {
    this.#platform = platform;
    this.#fd = fd;
    this.path = path;
  }

  /** The descriptor. Throws Error once the file is closed: another file may have its number by then. */
  get fd(): number {
    if (this.#fd < 0) throw new Error(`use ${this.path}: it is closed`);
    return this.#fd;
  }

  /** Gives the descriptor to the caller, who closes it. */
  detach(): number {
    const { fd } = this;
    this.#fd = -1;
    return fd;
  }

  [Symbol.dispose](): void {
    if (this.#fd >= 0) closeFd(this.#platform, this.detach());
  }
}

/** Opens the file or directory at `path` (close-on-exec). Throws SysError. */
export function openFile(
  platform: Platform,
  path: string,
  flags: number = O_RDONLY,
  mode = 0o600,
): OpenFile {
  const nr = syscallNumbers(platform);
  // arm64 numbers O_DIRECTORY differently from the generic value.
  const own =
    platform.arch === 'arm64' && flags & O_DIRECTORY ? (flags & ~O_DIRECTORY) | 0o40000 : flags;
  const fd = checked(
    'openat',
    platform.syscall(nr.openat, AT_FDCWD, encodeCString(path), own | O_CLOEXEC, mode),
    `open ${path}`,
  );
  return new OpenFile(platform, fd, path);
}

/** Closes a descriptor. An error is not reported, as nothing can be done about it. */
export function closeFd(platform: Platform, fd: number): void {
  platform.syscall(syscallNumbers(platform).close, fd);
}

/** The buffer for the first read of each file. It is reused, because most files are far smaller. */
const scratch = new Uint8Array(65536);

/** Reads the file behind `fd` up to its end. Throws SysError (EFBIG for more than `most` bytes). */
export function readToEnd(
  platform: Platform,
  fd: number,
  what = `read fd ${fd}`,
  most = Number.POSITIVE_INFINITY,
): Uint8Array {
  const nr = syscallNumbers(platform);
  let bytes = scratch;
  let length = 0;
  for (;;) {
    if (length === bytes.length) {
      const larger = new Uint8Array(bytes.length * 2);
      larger.set(bytes);
      bytes = larger;
    }
    const got = platform.syscall(nr.read, fd, bytes.subarray(length), bytes.length - length);
    if (got === -errno.EINTR) continue;
    checked('read', got, what);
    if (got === 0) return bytes.slice(0, length);
    length += got;
    if (length > most) throw new SysError('read', errno.EFBIG, what);
  }
}

/** Returns the content of a file. Throws SysError. */
export function readFile(platform: Platform, path: string): Uint8Array {
  using file = openFile(platform, path);
  return readToEnd(platform, file.fd, `read ${path}`);
}

/** Truncates and writes a file, which is created if it is missing. Throws SysError. */
export function writeFile(platform: Platform, path: string, bytes: Uint8Array, mode = 0o600): void {
  using file = openFile(platform, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
  writeAll(platform, file, bytes);
}

function writeAll(platform: Platform, file: OpenFile, bytes: Uint8Array): void {
  const nr = syscallNumbers(platform);
  for (let at = 0; at < bytes.length; ) {
    const put = platform.syscall(nr.write, file.fd, bytes.subarray(at), bytes.length - at);
    if (put === -errno.EINTR) continue;
    at += checked('write', put, `write ${file.path}`);
  }
}

/** The file that `replaceFile` writes and what becomes of it. */
export interface FileReplacement {
  readonly path: string;
  /** A name in the same folder for the file while it is written. What has this name is replaced. */
  readonly temporaryName: string;
  /** The permissions, whatever the umask is. */
  readonly mode: number;
}

/**
 * Writes a new file, and gives it the name of the old one once its bytes are on the disk. Other processes, and the
 * next boot, find the old or the new file, and never a part of it. Throws SysError, and then the old file stays.
 */
export function replaceFile(
  platform: Platform,
  bytes: Uint8Array,
  { path, temporaryName, mode }: FileReplacement,
): void {
  const nr = syscallNumbers(platform);
  const temporary = path.replace(/[^/]*$/, temporaryName);
  removeFile(platform, temporary);
  try {
    {
      using file = openFile(platform, temporary, O_WRONLY | O_CREAT | O_TRUNC, mode);
      checked('fchmod', platform.syscall(nr.fchmod, file.fd, mode), `set mode of ${temporary}`);
      writeAll(platform, file, bytes);
      checked('fsync', platform.syscall(nr.fsync, file.fd), `write ${temporary}`);
    }
    renamePath(platform, temporary, path);
  } catch (error) {
    removeFile(platform, temporary);
    throw error;
  }
}

/** An entry of a directory. */
export interface DirectoryEntry {
  readonly name: string;
  readonly kind: 'file' | 'directory' | 'link' | 'other';
}

/** Returns the entries of a directory without `.` and `..`, in the kernel's order. Throws SysError. */
export function readDirectory(platform: Platform, path: string): DirectoryEntry[] {
  const nr = syscallNumbers(platform);
  using directory = openFile(platform, path, O_RDONLY | O_DIRECTORY);
  const entries: DirectoryEntry[] = [];
  const bytes = new Uint8Array(32768);
  const view = new DataView(bytes.buffer);
  for (;;) {
    const got = checked(
      'getdents64',
      platform.syscall(nr.getdents64, directory.fd, bytes, bytes.length),
      `list ${path}`,
    );
    if (got === 0) return entries;
    // struct linux_dirent64: ino u64, off s64, reclen u16, type u8, name (getdents(2)).
    for (let at = 0; at < got; at += view.getUint16(at + 16, true)) {
      const length = view.getUint16(at + 16, true);
      const name = decodeCString(bytes.subarray(at + 19, at + length));
      if (name === '.' || name === '..') continue;
      const type = bytes[at + 18];
      const kind = type === 8 ? 'file' : type === 4 ? 'directory' : type === 10 ? 'link' : 'other';
      entries.push({ name, kind });
    }
  }
}

/** Makes a directory and its missing parents. An existing one is no error. Throws SysError. */
export function makeDirectory(platform: Platform, path: string, mode = 0o700): void {
  const nr = syscallNumbers(platform);
  const result = platform.syscall(nr.mkdirat, AT_FDCWD, encodeCString(path), mode);
  if (result === -errno.EEXIST) return;
  if (result === -errno.ENOENT) {
    const parent = path.replace(/\/+[^/]*\/*$/, '');
    if (parent !== '' && parent !== path) {
      makeDirectory(platform, parent, mode);
      checked(
        'mkdirat',
        platform.syscall(nr.mkdirat, AT_FDCWD, encodeCString(path), mode),
        `make ${path}`,
      );
      return;
    }
  }
  checked('mkdirat', result, `make ${path}`);
}

/** Removes a file or pin. A missing one is no error. Throws SysError. */
export function removeFile(platform: Platform, path: string): void {
  removeAt(platform, path, 0);
}

/** Removes an empty directory. A missing one is no error. Throws SysError. */
export function removeDirectory(platform: Platform, path: string): void {
  removeAt(platform, path, AT_REMOVEDIR);
}

function removeAt(platform: Platform, path: string, flags: number): void {
  const result = platform.syscall(
    syscallNumbers(platform).unlinkat,
    AT_FDCWD,
    encodeCString(path),
    flags,
  );
  if (result !== -errno.ENOENT) checked('unlinkat', result, `remove ${path}`);
}

/** Renames a file or directory and replaces the target if there is one. Throws SysError. */
export function renamePath(platform: Platform, from: string, to: string): void {
  const nr = syscallNumbers(platform);
  checked(
    'renameat2',
    platform.syscall(nr.renameat2, AT_FDCWD, encodeCString(from), AT_FDCWD, encodeCString(to), 0),
    `rename ${from} to ${to}`,
  );
}

/** Returns whether `path` exists. Throws SysError when that is unknown, e.g. without permission. */
export function pathExists(platform: Platform, path: string): boolean {
  const nr = syscallNumbers(platform);
  const status = new Uint8Array(256);
  const result = platform.syscall(nr.fstatat, AT_FDCWD, encodeCString(path), status, 0);
  if (result === -errno.ENOENT || result === -errno.ENOTDIR) return false;
  checked('fstatat', result, `look at ${path}`);
  return true;
}

/** The status of the file at a path, or behind a descriptor. */
export interface FileStatus {
  readonly kind: 'file' | 'folder' | 'link' | 'socket' | 'FIFO' | 'device';
  readonly size: number;
  /** The number of names (hard links) of the file. */
  readonly links: number;
  /** Device and inode number, which are unique among existing files. */
  readonly identity: string;
  /** The time of the last change of a file's content, or of a folder's entries. */
  readonly modifiedNs: bigint;
}

const fileKinds: Readonly<Record<number, FileStatus['kind']>> = {
  1: 'FIFO',
  2: 'device',
  4: 'folder',
  6: 'device',
  8: 'file',
  10: 'link',
  12: 'socket',
};

/** Returns the status of the file at `path` (of a link: of its target, unless `follow` is false). Throws SysError. */
export function fileStatus(platform: Platform, path: string, follow = true): FileStatus {
  const AT_SYMLINK_NOFOLLOW = 0x100;
  return statusAt(platform, AT_FDCWD, path, follow ? 0 : AT_SYMLINK_NOFOLLOW, `look at ${path}`);
}

/**
 * Returns the status of what is at `path` itself, not of a link's target, or undefined when nothing is
 * there. Throws SysError.
 */
export function linkStatus(platform: Platform, path: string): FileStatus | undefined {
  try {
    return fileStatus(platform, path, false);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Returns the status of the file behind `fd`. Throws SysError. */
export function fdStatus(platform: Platform, fd: number): FileStatus {
  return statusAt(platform, fd, '', AT_EMPTY_PATH, `look at fd ${fd}`);
}

function statusAt(platform: Platform, fd: number, path: string, flags: number, what: string) {
  const bytes = new Uint8Array(256);
  const nr = syscallNumbers(platform).fstatat;
  checked('fstatat', platform.syscall(nr, fd, encodeCString(path), bytes, flags), what);
  // struct stat (asm/stat.h): st_dev and st_ino u64, then st_nlink u64 and st_mode u32 on x86-64,
  // st_mode u32 and st_nlink u32 on arm64; st_size s64 and st_mtim are at bytes 48 and 88 on both.
  const view = new DataView(bytes.buffer);
  const isX64 = platform.arch === 'x64';
  return {
    kind: fileKinds[view.getUint32(isX64 ? 24 : 16, true) >>> 12] ?? 'device',
    size: Number(view.getBigInt64(48, true)),
    links: view.getUint32(isX64 ? 16 : 20, true),
    identity: `${view.getBigUint64(0, true)}:${view.getBigUint64(8, true)}`,
    modifiedNs: view.getBigUint64(88, true) * 1_000_000_000n + view.getBigUint64(96, true),
  };
}

/** Returns the inode number of the file behind `fd`. That of a cgroup is its id. Throws SysError. */
export function inodeOfFd(platform: Platform, fd: number): bigint {
  const status = new Uint8Array(256);
  const nr = syscallNumbers(platform);
  checked('fstatat', platform.syscall(nr.fstatat, fd, encodeCString(''), status, AT_EMPTY_PATH));
  // st_ino is the second word of struct stat on x86-64 and arm64.
  return new DataView(status.buffer).getBigUint64(8, true);
}

/** Returns the target of a symbolic link, e.g. `net:[4026531840]` of /proc/self/ns/net. Throws SysError. */
export function readLink(platform: Platform, path: string): string {
  const bytes = new Uint8Array(4096);
  const nr = syscallNumbers(platform);
  const length = checked(
    'readlinkat',
    platform.syscall(nr.readlinkat, AT_FDCWD, encodeCString(path), bytes, bytes.length),
    `read link ${path}`,
  );
  return decodeCString(bytes.subarray(0, length));
}

/** Returns true if the error is a SysError for a missing file. */
export function isMissing(error: unknown): boolean {
  return error instanceof SysError && error.code === 'ENOENT';
}
