import { errno } from '../errno.ts';
import { checked, SysError } from '../errors.ts';
import { closeFd, linkStatus, makeDirectory, removeFile, renamePath } from '../files.ts';
import type { Platform } from '../platform.ts';
import { syscallNumbers } from '../syscalls.ts';
import { encodeCString } from '../utf8.ts';
import { AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM } from './constants.ts';
import { encodeUnixSockaddr } from './socket-address.ts';

const AT_FDCWD = -100;
const socketMode = 0o600;
/** Connections that may wait to be accepted. */
const usualBacklog = 64;

/** Another process listens on the socket at a path. */
export class AlreadyListening extends Error {
  override readonly name = 'AlreadyListening';
  readonly path: string;

  constructor(path: string) {
    super(`listen on ${path}: another process listens there`);
    this.path = path;
  }
}

/**
 * Listens on a unix stream socket (non-blocking, close-on-exec) that only its owner may connect
 * to, whatever the umask, and returns its descriptor. A socket that a dead process left at `path`
 * is replaced. Missing parent folders are made with mode 0700. Throws AlreadyListening when a
 * process listens on the socket at `path`, and SysError (ENOTSOCK when another kind of file is
 * there).
 */
export function listenUnix(platform: Platform, path: string, backlog = usualBacklog): number {
  const nr = syscallNumbers(platform);
  const parent = path.slice(0, path.lastIndexOf('/'));
  if (parent !== '') makeDirectory(platform, parent);
  removeStale(platform, path);
  const fd = newSocket(platform);
  let isBound = false;
  try {
    // The file takes its mode from the socket's inode, so it never exists with a wider one
    // (net/unix/af_unix.c, unix_bind_bsd). The umask can only narrow the mode; fchmodat corrects it.
    checked('fchmod', platform.syscall(nr.fchmod, fd, socketMode));
    const address = encodeUnixSockaddr(path);
    const bound = platform.syscall(nr.bind, fd, address, address.length);
    if (bound === -errno.EADDRINUSE) throw new AlreadyListening(path);
    checked('bind', bound, `bind ${path}`);
    isBound = true;
    checked(
      'fchmodat',
      platform.syscall(nr.fchmodat, AT_FDCWD, encodeCString(path), socketMode),
      `set mode of ${path}`,
    );
    checked('listen', platform.syscall(nr.listen, fd, backlog), `listen on ${path}`);
    return fd;
  } catch (error) {
    closeFd(platform, fd);
    if (isBound) removeFile(platform, path);
    throw error;
  }
}

/**
 * Returns whether a process listens on the unix socket at `path`; false also when there is no
 * socket. Throws SysError.
 */
export function isUnixListening(platform: Platform, path: string): boolean {
  const fd = newSocket(platform);
  try {
    const address = encodeUnixSockaddr(path);
    const nr = syscallNumbers(platform).connect;
    const result = platform.syscall(nr, fd, address, address.length);
    // EAGAIN: a process listens, and its backlog is full.
    if (result === 0 || result === -errno.EAGAIN) return true;
    // ENOTSOCK cannot come from connect(2): a plain file at the path gives ECONNREFUSED as well.
    if ([errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR].includes(-result as never)) return false;
    throw new SysError('connect', -result, `connect to ${path}`);
  } finally {
    closeFd(platform, fd);
  }
}

/**
 * Returns the identity of the socket at a path, undefined when there is none. A new socket at the
 * same path has another identity. Throws SysError.
 */
export function socketIdentity(platform: Platform, path: string): string | undefined {
  const status = linkStatus(platform, path);
  return status?.kind === 'socket' ? status.identity : undefined;
}

/** Removes the socket with this identity at a path; anything else that is there stays. Throws SysError. */
export function removeOwnSocket(platform: Platform, path: string, identity: string): void {
  if (socketIdentity(platform, path) === identity) removeFile(platform, path);
}

/**
 * Removes a socket on which no process listens. It is renamed and asked once more before it is
 * unlinked, so that two processes that start at once cannot remove each other's new socket.
 */
function removeStale(platform: Platform, path: string): void {
  if (isUnixListening(platform, path)) throw new AlreadyListening(path);
  if (!isSocket(platform, path)) return;
  const aside = `${path}.${platform.syscall(syscallNumbers(platform).getpid)}`;
  // renameat2 would replace a file that is there; a socket there is left from a process with the
  // same number.
  if (isSocket(platform, aside)) removeFile(platform, aside);
  renamePath(platform, path, aside);
  if (isUnixListening(platform, aside)) {
    renamePath(platform, aside, path);
    throw new AlreadyListening(path);
  }
  removeFile(platform, aside);
}

/** Returns true for a socket and false for no file. Throws SysError with ENOTSOCK for other files. */
function isSocket(platform: Platform, path: string): boolean {
  const kind = linkStatus(platform, path)?.kind;
  if (kind === undefined || kind === 'socket') return kind === 'socket';
  throw new SysError('bind', errno.ENOTSOCK, `listen on ${path}, where a ${kind} is`);
}

function newSocket(platform: Platform): number {
  const nr = syscallNumbers(platform).socket;
  return checked(
    'socket',
    platform.syscall(nr, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
    'create unix socket',
  );
}
