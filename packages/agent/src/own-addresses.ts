import { listAddresses, listLinks, NetlinkSocket } from '@heddle/netlink';
import type { Platform } from '@heddle/sys';
import { networkGroups, watchNetwork } from './network-news.ts';

/** An address of this node and the device that has it. */
export interface OwnAddress {
  readonly address: string;
  readonly device: string;
}

/**
 * Addresses of this network namespace's devices that others can reach (global and site scope),
 * sorted. Throws NetlinkError.
 */
export function ownAddresses(platform: Platform): OwnAddress[] {
  using socket = new NetlinkSocket(platform);
  const names = new Map(listLinks(socket).map(({ index, name }) => [index, name]));
  return listAddresses(socket)
    .filter(({ scope }) => scope === 'universe' || scope === 'site')
    .map(({ address, link }) => ({ address, device: names.get(link) ?? '' }))
    .sort((a, b) => (text(a) < text(b) ? -1 : 1));
}

/**
 * Calls `changed` with the own addresses whenever they differ from the ones before, until it is
 * disposed. `first` are those known so far. Throws SysError.
 */
export function watchOwnAddresses(
  platform: Platform,
  first: readonly OwnAddress[],
  changed: (addresses: OwnAddress[]) => void,
): Disposable {
  const { ipv4Addresses, ipv6Addresses } = networkGroups;
  let known = first.map(text).join();
  return watchNetwork(platform, [ipv4Addresses, ipv6Addresses], () => {
    const now = ownAddresses(platform);
    const told = now.map(text).join();
    if (told === known) return;
    known = told;
    changed(now);
  });
}

function text({ address, device }: OwnAddress): string {
  return `${address} ${device}`;
}
