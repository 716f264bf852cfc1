import { errno } from '../errno.ts';
import { checked } from '../errors.ts';
import { closeFd } from '../files.ts';
import type { Platform } from '../platform.ts';
import { syscallNumbers } from '../syscalls.ts';
import {
  AF_INET,
  AF_INET6,
  IPPROTO_IPV6,
  IPV6_V6ONLY,
  SO_REUSEADDR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
} from './constants.ts';
import type { ListenAddress } from './listen-address.ts';
import { decodeSockaddr, encodeInt, encodeSockaddr, sockaddrSize } from './socket-address.ts';

const backlog = 64;

/**
 * Listens on a TCP socket (non-blocking, close-on-exec) and returns its descriptor. Without an
 * address it listens on all addresses of both families. `what` names the address in errors.
 * Throws SysError, e.g. EADDRINUSE.
 */
export function listenTcp(
  platform: Platform,
  { address, port }: ListenAddress,
  what: string,
): number {
  const nr = syscallNumbers(platform);
  const type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  let isV4 = address !== undefined && !address.includes(':');
  let fd = platform.syscall(nr.socket, isV4 ? AF_INET : AF_INET6, type, 0);
  if (fd === -errno.EAFNOSUPPORT && address === undefined) {
    // The kernel was booted without IPv6.
    isV4 = true;
    fd = platform.syscall(nr.socket, AF_INET, type, 0);
  }
  checked('socket', fd, `listen on ${what}`);
  try {
    // Closing connections of the previous process do not keep the port.
    setOption(platform, fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (!isV4) setOption(platform, fd, IPPROTO_IPV6, IPV6_V6ONLY, address ? 1 : 0);
    const name = encodeSockaddr({ address: address ?? (isV4 ? '0.0.0.0' : '::'), port });
    checked('bind', platform.syscall(nr.bind, fd, name, name.length), `listen on ${what}`);
    checked('listen', platform.syscall(nr.listen, fd, backlog), `listen on ${what}`);
    return fd;
  } catch (error) {
    closeFd(platform, fd);
    throw error;
  }
}

/** Returns the port that an IP socket is bound to, in host byte order. Throws SysError. */
export function localPort(platform: Platform, fd: number): number {
  const name = new Uint8Array(sockaddrSize);
  const nr = syscallNumbers(platform).getsockname;
  checked('getsockname', platform.syscall(nr, fd, name, encodeInt(name.length)));
  return decodeSockaddr(name).port;
}

function setOption(platform: Platform, fd: number, level: number, name: number, value: number) {
  const bytes = encodeInt(value);
  const nr = syscallNumbers(platform).setsockopt;
  checked('setsockopt', platform.syscall(nr, fd, level, name, bytes, bytes.length));
}
