import {
  AF_INET,
  AF_INET6,
  addAddress,
  addNeighbour,
  addRoute,
  addRoutingRule,
  isNetlinkError,
  type NetlinkSocket,
  type NetworkNamespace,
  type Route,
  Sysctls,
} from '@heddle/netlink';
import { type Platform, SysError } from '@heddle/sys';
import { gateway, gatewayMac, type PodInterface } from './pod-settings.ts';

/** The value of net.ipv4.tcp_tw_reuse with which the kernel starts: reuse for loopback only. */
const defaultReuse = '2';

/** The number of the routing table of an additional interface is this one plus its ifindex. */
const firstTable = 1000;

/** Sets the pod's addresses, and what its kernel does. Throws NetlinkError, SysError. */
export function prepareBeforeUp(
  platform: Platform,
  inside: NetlinkSocket,
  namespace: NetworkNamespace,
  link: number,
  { podName, addresses, sysctls: directory }: PodInterface,
): void {
  const sysctls = new Sysctls(platform, directory);
  const hasV6 = addresses.some(({ address }) => address.includes(':'));
  namespace.enter(() => {
    if (hasV6) enableIpv6(sysctls, podName);
    reusePorts(sysctls);
  });
  for (const { address } of addresses) addAddress(inside, link, hostPrefix(address));
}

/** A pod with an IPv6 address has IPv6, also where the runtime disables it in new namespaces. */
function enableIpv6(sysctls: Sysctls, podName: string): void {
  const name = `ipv6/conf/${podName}/disable_ipv6`;
  if (!sysctls.has(name) || sysctls.read(name) !== '0') sysctls.write(name, 0);
}

/**
 * Lets the pod's connections take ports in TIME-WAIT: without it, connect() takes milliseconds once
 * a client has closed some 14,000 connections to one address in a minute. A value that differs from
 * the kernel's default was chosen, and stays.
 */
function reusePorts(sysctls: Sysctls): void {
  const name = 'ipv4/tcp_tw_reuse';
  try {
    if (sysctls.read(name) === defaultReuse) sysctls.write(name, 1);
  } catch (error) {
    // The pod works without it.
    if (!(error instanceof SysError)) throw error;
  }
}

/** Adds the pod's neighbours and routes. Its link must be up. Throws NetlinkError. */
export function configurePod(inside: NetlinkSocket, link: number, pod: PodInterface): void {
  const { kind, mac = gatewayMac, addresses } = pod;
  for (const { address } of addresses) {
    const isV6 = address.includes(':');
    const destination = isV6 ? '::/0' : '0.0.0.0/0';
    if (kind === 'netkit') {
      addDefault(inside, address, { destination, link });
      continue;
    }
    const via = isV6 ? gateway.v6 : gateway.v4;
    addNeighbour(inside, { link, address: via, lladdr: mac });
    addDefault(inside, address, { destination, via, link, onlink: true });
  }
}

/**
 * Adds the default route of an address. In a pod with several interfaces the first one has the default
 * route of the main table; each other one is used for packets from its own address, by a rule.
 */
function addDefault(inside: NetlinkSocket, address: string, route: Route & { link: number }): void {
  try {
    addRoute(inside, route);
  } catch (error) {
    if (!isNetlinkError(error, 'EEXIST')) throw error;
    const table = firstTable + route.link;
    addRoute(inside, { ...route, table });
    const family = address.includes(':') ? AF_INET6 : AF_INET;
    addRoutingRule(inside, { family, source: hostPrefix(address), table });
  }
}

function hostPrefix(address: string): string {
  return `${address}/${address.includes(':') ? 128 : 32}`;
}
