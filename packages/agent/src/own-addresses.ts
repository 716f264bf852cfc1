import { listAddresses, NetlinkSocket } from '@heddle/netlink';
import { checked, closeFd, type Platform, syscallNumbers } from '@heddle/sys';

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const NETLINK_ROUTE = 0;
// linux/rtnetlink.h
const RTMGRP_IPV4_IFADDR = 0x10;
const RTMGRP_IPV6_IFADDR = 0x100;
/** Addresses come and go in bursts, e.g. when a device goes up. */
const settleMs = 50;

/**
 * Addresses of this network namespace's devices that others can reach (global and site scope), as
 * sorted text without duplicates. NodePorts are served on them. Throws NetlinkError.
 */
export function ownAddresses(platform: Platform): string[] {
  using socket = new NetlinkSocket(platform);
  const addresses = new Set<string>();
  for (const { scope, address } of listAddresses(socket)) {
    if (scope === 'universe' || scope === 'site') addresses.add(address);
  }
  return [...addresses].sort();
}

/**
 * Calls `changed` with the own addresses whenever they differ from the ones before, until it is
 * disposed. `first` are those known so far. Throws SysError.
 */
export function watchOwnAddresses(
  platform: Platform,
  first: readonly string[],
  changed: (addresses: string[]) => void,
): Disposable {
  const nr = syscallNumbers(platform);
  const type = SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC;
  const fd = checked(
    'socket',
    platform.syscall(nr.socket, AF_NETLINK, type, NETLINK_ROUTE),
    'watch addresses',
  );
  // struct sockaddr_nl: family u16, padding u16, port id u32, groups u32.
  const address = new Uint8Array(12);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_NETLINK, true);
  view.setUint32(8, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR, true);
  const bound = platform.syscall(nr.bind, fd, address, address.length);
  if (bound < 0) closeFd(platform, fd);
  checked('bind', bound, 'watch addresses');

  let known = first.join();
  let settling: Disposable | undefined;
  const compare = () => {
    settling = undefined;
    const now = ownAddresses(platform);
    if (now.join() === known) return;
    known = now.join();
    changed(now);
  };
  const news = new Uint8Array(16 * 1024);
  const watch = platform.onReadable(fd, () => {
    // That something changed is all that is needed: also when messages were lost (ENOBUFS).
    while (platform.syscall(nr.read, fd, news, news.length) > 0);
    settling ??= platform.setTimer(settleMs, compare);
  });
  return {
    [Symbol.dispose]() {
      settling?.[Symbol.dispose]();
      watch[Symbol.dispose]();
      closeFd(platform, fd);
    },
  };
}
