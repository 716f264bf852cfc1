import { listAddresses, NetlinkSocket } from '@heddle/netlink';
import type { Platform } from '@heddle/sys';
import { networkGroups, watchNetwork } from './network-news.ts';

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
  const { ipv4Addresses, ipv6Addresses } = networkGroups;
  let known = first.join();
  return watchNetwork(platform, [ipv4Addresses, ipv6Addresses], () => {
    const now = ownAddresses(platform);
    if (now.join() === known) return;
    known = now.join();
    changed(now);
  });
}
