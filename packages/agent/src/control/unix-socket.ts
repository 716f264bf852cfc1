import {
  checked,
  closeFd,
  encodeCString,
  encodeUtf8,
  errno,
  type FileStatus,
  fileStatus,
  isMissing,
  makeDirectory,
  type Platform,
  removeFile,
  renamePath,
  SysError,
  syscallNumbers,
} from '@heddle/sys';

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const AT_FDCWD = -100;
const socketMode = 0o600;
const backlog = 64;

/** Somebody answers at the path of a socket: another agent runs. */
export class AlreadyListening extends Error {
  override readonly name = 'AlreadyListening';
  readonly path: string;

  constructor(path: string) {
    super(
      `listen on ${path}: another agent answers there (stop it first, or give this one its own --socket)`,
    );
    this.path = path;
  }
}

/**
 * Listens on a unix stream socket (non-blocking, close-on-exec) that only its owner may connect
 * to, whatever the umask is. What a dead process left at `path` is replaced; a socket on which
 * somebody listens is not: AlreadyListening. Missing parent folders are made with mode 0700. Other
 * causes throw SysError.
 */
export function listenUnix(platform: Platform, path: string): number {
  const nr = syscallNumbers(platform);
  const parent = path.slice(0, path.lastIndexOf('/'));
  if (parent !== '') makeDirectory(platform, parent);
  removeStale(platform, path);
  const fd = newSocket(platform);
  let isBound = false;
  try {
    // The file takes its mode from the socket's own inode, so it never exists with a wider one
    // (net/unix/af_unix.c, unix_bind_bsd); the umask can only narrow it, which is set right after.
    checked('fchmod', platform.syscall(nr.fchmod, fd, socketMode));
    const address = unixAddress(path);
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

/** Whether somebody listens on the unix socket at `path`; false also when nothing is there. Throws SysError. */
export function listens(platform: Platform, path: string): boolean {
  const fd = newSocket(platform);
  try {
    const address = unixAddress(path);
    const nr = syscallNumbers(platform).connect;
    const result = platform.syscall(nr, fd, address, address.length);
    // EAGAIN: the backlog is full, so somebody does.
    if (result === 0 || result === -errno.EAGAIN) return true;
    // ENOTSOCK cannot come from connect(2): a plain file at the path gives ECONNREFUSED as well.
    if ([errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR].includes(-result as never)) return false;
    throw new SysError('connect', -result, `connect to ${path}`);
  } finally {
    closeFd(platform, fd);
  }
}

/**
 * Takes away a socket on which nobody listens. It is moved aside and asked once more before it is
 * unlinked, so that two agents which start at once can't remove each other's new socket.
 */
function removeStale(platform: Platform, path: string): void {
  if (listens(platform, path)) throw new AlreadyListening(path);
  if (!isSocket(platform, path)) return;
  const aside = `${path}.${platform.syscall(syscallNumbers(platform).getpid)}`;
  // Nothing that is there already is replaced, be it what an agent with this number left.
  if (isSocket(platform, aside)) removeFile(platform, aside);
  renamePath(platform, path, aside);
  if (listens(platform, aside)) {
    renamePath(platform, aside, path);
    throw new AlreadyListening(path);
  }
  removeFile(platform, aside);
}

/** True for a socket, false when nothing is there; throws when the path holds something else. */
function isSocket(platform: Platform, path: string): boolean {
  const kind = kindAt(platform, path);
  if (kind === undefined || kind === 'socket') return kind === 'socket';
  throw new Error(
    `listen on ${path}: something that is no socket is there, a ${kind} (remove it, or give another --socket)`,
  );
}

/** Kind of what is at a path itself; undefined for nothing. Throws SysError. */
export function kindAt(platform: Platform, path: string): FileStatus['kind'] | undefined {
  return statusAt(platform, path)?.kind;
}

/** Returns the status of the path itself, not of a link's target; undefined when it does not exist. Throws SysError. */
function statusAt(platform: Platform, path: string): FileStatus | undefined {
  try {
    return fileStatus(platform, path, false);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Returns the identity of the socket at a path: a new socket at the same path has a new one. Throws SysError. */
export function socketIdentity(platform: Platform, path: string): string | undefined {
  const status = statusAt(platform, path);
  return status?.kind === 'socket' ? status.identity : undefined;
}

/**
 * Removes the socket that was made at a path, unless something else is there by now: another agent's
 * socket, or whatever somebody put there.
 */
export function removeOwnSocket(platform: Platform, path: string, identity: string): void {
  if (socketIdentity(platform, path) === identity) removeFile(platform, path);
}

function newSocket(platform: Platform): number {
  const nr = syscallNumbers(platform).socket;
  return checked(
    'socket',
    platform.syscall(nr, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
    'make unix socket',
  );
}

/** struct sockaddr_un (sys/un.h): family u16, path with its terminating zero. */
function unixAddress(path: string): Uint8Array {
  const name = encodeUtf8(path);
  if (name.length > 107) {
    throw new Error(`use socket ${path}: longer than 107 bytes (give a shorter path)`);
  }
  const address = new Uint8Array(2 + name.length + 1);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(name, 2);
  return address;
}
