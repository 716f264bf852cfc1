import { addAddress, addNeighbour, addRoute, type NetlinkSocket, Sysctls } from '@heddle/netlink';
import type { Platform } from '@heddle/sys';
import { gateway, type PodInterface } from './pod-settings.ts';

/** Sets what the kernel does at the node's end, in the calling thread's network namespace. Throws SysError. */
export function prepareNode(platform: Platform, pod: PodInterface): void {
  const { name, kind, addresses, forwarding = true } = pod;
  const sysctls = new Sysctls(platform, pod.sysctls);
  const set = (setting: string, value: number) => sysctls.write(setting, value);
  const hasV6 = addresses.some(({ address }) => address.includes(':'));
  if (forwarding) set(`ipv4/conf/${name}/forwarding`, 1);
  // The pod's addresses are checked by its programs; the filter would drop what they redirect.
  set(`ipv4/conf/${name}/rp_filter`, 0);
  if (kind !== 'netkit') {
    // Virtual machines in the pod ask for the gateway by ARP.
    set(`ipv4/conf/${name}/proxy_arp`, 1);
    set(`ipv4/neigh/${name}/proxy_delay`, 0);
  }
  if (!hasV6) {
    // There is no such setting where the kernel has no IPv6.
    if (sysctls.has('ipv6')) set(`ipv6/conf/${name}/disable_ipv6`, 1);
    return;
  }
  set(`ipv6/conf/${name}/disable_ipv6`, 0);
  // 1 (IN6_ADDR_GEN_MODE_NONE): the end has no link-local address but the gateway's.
  set(`ipv6/conf/${name}/addr_gen_mode`, 1);
  if (forwarding) set(`ipv6/conf/${name}/forwarding`, 1);
  set(`ipv6/conf/${name}/accept_ra`, 0);
}

/** Adds the node's address, routes and neighbours of a pod. Throws NetlinkError. */
export function configureNode(node: NetlinkSocket, link: number, pod: PodInterface): void {
  const { kind, podMac, routeMtu, addresses } = pod;
  const mtu = routeMtu === undefined ? {} : { mtu: routeMtu };
  for (const { address, source } of addresses) {
    const isV6 = address.includes(':');
    // The kernel answers neighbour discovery only for addresses of the interface that is asked.
    if (isV6 && kind !== 'netkit') addAddress(node, link, `${gateway.v6}/64`);
    if (kind !== 'netkit') addNeighbour(node, { link, address, lladdr: podMac });
    const destination = `${address}/${isV6 ? 128 : 32}`;
    addRoute(node, { destination, link, ...(source === undefined ? {} : { source }), ...mtu });
  }
}
