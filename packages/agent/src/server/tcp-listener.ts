import { checked, closeFd, errno, isIpv4, type Platform, syscallNumbers } from '@heddle/sys';
import type { ListenAddress } from './listen-address.ts';

// linux/socket.h, asm-generic/socket.h, linux/in6.h
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const backlog = 64;

/**
 * Listens on TCP (non-blocking, close-on-exec); on all addresses of both families when none is
 * given. `what` names the address in errors. Throws SysError, e.g. EADDRINUSE.
 */
export function listenTcp(
  platform: Platform,
  { address, port }: ListenAddress,
  what: string,
): number {
  const nr = syscallNumbers(platform);
  const type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  let isV4 = address !== undefined && isIpv4(address);
  let fd = platform.syscall(nr.socket, isV4 ? AF_INET : AF_INET6, type, 0);
  if (fd === -errno.EAFNOSUPPORT && address === undefined) {
    // A kernel that was started without IPv6.
    isV4 = true;
    fd = platform.syscall(nr.socket, AF_INET, type, 0);
  }
  checked('socket', fd, `listen on ${what}`);
  try {
    // Connections of the process before that are still closing don't hold the port.
    setOption(platform, fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (!isV4) setOption(platform, fd, IPPROTO_IPV6, IPV6_V6ONLY, address ? 1 : 0);
    const name = isV4 ? sockaddrIn(address, port) : sockaddrIn6(address, port);
    checked('bind', platform.syscall(nr.bind, fd, name, name.length), `listen on ${what}`);
    checked('listen', platform.syscall(nr.listen, fd, backlog), `listen on ${what}`);
    return fd;
  } catch (error) {
    closeFd(platform, fd);
    throw error;
  }
}

/** Port that a TCP socket is bound to, in host order. Throws SysError. */
export function localPort(platform: Platform, fd: number): number {
  const name = new Uint8Array(28);
  const length = Uint8Array.of(name.length, 0, 0, 0);
  const nr = syscallNumbers(platform).getsockname;
  checked('getsockname', platform.syscall(nr, fd, name, length));
  // The port is in the same place, in network order, for both families.
  return new DataView(name.buffer).getUint16(2);
}

function setOption(platform: Platform, fd: number, level: number, name: number, value: number) {
  const bytes = Uint8Array.of(value, 0, 0, 0);
  const nr = syscallNumbers(platform).setsockopt;
  checked('setsockopt', platform.syscall(nr, fd, level, name, bytes, bytes.length));
}

/** struct sockaddr_in: family u16 in host order, port u16 and address in network order, padding. */
function sockaddrIn(address: Uint8Array | undefined, port: number): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF_INET, true);
  view.setUint16(2, port);
  if (address) bytes.set(address.subarray(12), 4);
  return bytes;
}

/** struct sockaddr_in6: family u16, port u16, flow info u32, address, scope id u32. */
function sockaddrIn6(address: Uint8Array | undefined, port: number): Uint8Array {
  const bytes = new Uint8Array(28);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF_INET6, true);
  view.setUint16(2, port);
  if (address) bytes.set(address, 8);
  return bytes;
}
