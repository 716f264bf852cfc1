import { changeLink, NetlinkSocket, type NetworkNamespace } from '@heddle/netlink';
import type { Platform } from '@heddle/sys';

/** ifindex of the loopback interface of every network namespace. */
const loopback = 1;

/**
 * Prepares a new network namespace, so that it does not depend on the host's settings: brings
 * loopback up, enables IPv6 without duplicate address detection, router advertisements and link-local
 * addresses, and disables the reverse path filter. The settings apply to interfaces that are
 * created later. Throws SysError and NetlinkError.
 */
export function prepareNamespace(platform: Platform, namespace: NetworkNamespace): void {
  for (const scope of ['all', 'default']) {
    namespace.setSysctl(`net/ipv4/conf/${scope}/rp_filter`, 0);
    namespace.setSysctl(`net/ipv6/conf/${scope}/disable_ipv6`, 0);
    namespace.setSysctl(`net/ipv6/conf/${scope}/accept_dad`, 0);
    namespace.setSysctl(`net/ipv6/conf/${scope}/accept_ra`, 0);
  }
  // 1 (IN6_ADDR_GEN_MODE_NONE): interfaces get no link-local address of their own.
  namespace.setSysctl('net/ipv6/conf/default/addr_gen_mode', 1);
  using socket = namespace.enter(() => new NetlinkSocket(platform));
  changeLink(socket, loopback, { up: true });
}
