import {
  checked,
  encodeCString,
  errno,
  makeDirectory,
  type Platform,
  SysError,
  syscallNumbers,
} from '@heddle/sys';

/** BPF_FS_MAGIC of linux/magic.h. */
const BPF_FS_MAGIC = 0xcafe4a11;
// sys/mount.h
const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_NOEXEC = 8;
const MNT_DETACH = 2;

/** Returns true if `path` exists and lies on a bpf file system, where objects can be pinned. */
export function isBpffs(platform: Platform, path: string): boolean {
  // struct statfs: f_type is its first word (8 bytes on x86-64 and arm64).
  const status = new Uint8Array(256);
  const result = platform.syscall(syscallNumbers(platform).statfs, encodeCString(path), status);
  return result >= 0 && new DataView(status.buffer).getUint32(0, true) === BPF_FS_MAGIC;
}

/**
 * Mounts a bpf file system on `path`, and makes the directory if it is missing. A bpf file system that
 * is mounted there already is kept, with its pins. Throws SysError (EPERM without CAP_SYS_ADMIN).
 */
export function mountBpffs(platform: Platform, path: string): void {
  if (isBpffs(platform, path)) return;
  makeDirectory(platform, path);
  const type = encodeCString('bpf');
  const result = platform.syscall(
    syscallNumbers(platform).mount,
    type,
    encodeCString(path),
    type,
    MS_NOSUID | MS_NODEV | MS_NOEXEC,
    encodeCString('mode=0700'),
  );
  checked('mount', result, `mount bpf file system on ${path}`, {
    EPERM: 'it takes CAP_SYS_ADMIN, unless it is mounted beforehand',
  });
}

/**
 * Unmounts the file system on `path`, at once or as soon as no process uses it. Unlink the pins first: they
 * remain while any process has a copy of the mount table. Throws SysError.
 */
export function unmountBpffs(platform: Platform, path: string): void {
  const result = platform.syscall(
    syscallNumbers(platform).umount2,
    encodeCString(path),
    MNT_DETACH,
  );
  checked('umount2', result, `unmount ${path}`);
}

/**
 * Returns the error of a pin that could not be made or opened. The kernel fails with EPERM also for a
 * path where no pin can be; then the error says what is wrong with the path.
 */
export function pinError(platform: Platform, code: number, verb: string, path: string): SysError {
  const slash = path.lastIndexOf('/');
  const directory = path.slice(0, slash) || '/';
  if (code === errno.EPERM || code === errno.EINVAL) {
    const hint = path.includes('.', slash)
      ? 'names in a bpf file system have no dot'
      : !isBpffs(platform, directory)
        ? `${directory} is not on a bpf file system; mount one there with type bpf`
        : undefined;
    if (hint) return new SysError('bpf', errno.EINVAL, `${verb} ${path}`, { hint });
  }
  return new SysError('bpf', code, `${verb} ${path}`);
}
