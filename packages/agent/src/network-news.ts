import { checked, closeFd, type Platform, syscallNumbers } from '@heddle/sys';
import { AF_NETLINK, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_RAW } from '@heddle/sys/net';

const NETLINK_ROUTE = 0;
/** The time after which a look that failed is repeated. */
const retryMs = 1000;
/** Changes come in bursts, e.g. when a device goes up. */
const settleMs = 50;

/** What can be listened to (RTMGRP_* of linux/rtnetlink.h). */
export const networkGroups = {
  links: 0x1,
  ipv4Addresses: 0x10,
  ipv4Routes: 0x40,
  ipv6Addresses: 0x100,
  ipv6Routes: 0x400,
} as const;

/**
 * Calls `changed` some time after something of the groups has changed in this network namespace,
 * until it is disposed. What changed is for the caller to find out: messages may be lost, the call
 * isn't; when it throws it is called again after a second. Throws SysError.
 */
export function watchNetwork(
  platform: Platform,
  groups: readonly number[],
  changed: () => void,
): Disposable {
  const nr = syscallNumbers(platform);
  const what = 'watch the network';
  const type = SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC;
  const fd = checked('socket', platform.syscall(nr.socket, AF_NETLINK, type, NETLINK_ROUTE), what);
  // struct sockaddr_nl: family u16, padding u16, port id u32, groups u32.
  const address = new Uint8Array(12);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_NETLINK, true);
  view.setUint32(
    8,
    groups.reduce((all, group) => all | group, 0),
    true,
  );
  const bound = platform.syscall(nr.bind, fd, address, address.length);
  if (bound < 0) closeFd(platform, fd);
  checked('bind', bound, what);

  let settling: Disposable | undefined;
  const news = new Uint8Array(16 * 1024);
  const callAfter = (milliseconds: number) => {
    settling ??= platform.setTimer(milliseconds, () => {
      settling = undefined;
      try {
        changed();
      } catch (error) {
        const reason = (error as Error).message;
        platform.log('warn', `${what}: ${reason}; it is tried again`);
        callAfter(retryMs);
      }
    });
  };
  let watch: Disposable;
  try {
    watch = platform.onReadable(fd, () => {
      // That something changed is all that is needed: also when messages were lost (ENOBUFS).
      while (platform.syscall(nr.read, fd, news, news.length) > 0);
      callAfter(settleMs);
    });
  } catch (error) {
    closeFd(platform, fd);
    throw error;
  }
  return {
    [Symbol.dispose]() {
      settling?.[Symbol.dispose]();
      watch[Symbol.dispose]();
      closeFd(platform, fd);
    },
  };
}
