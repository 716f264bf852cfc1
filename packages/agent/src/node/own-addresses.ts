import {
  type LinkAddress,
  listAddresses,
  listLinks,
  NetlinkSocket,
  type NetworkEvent,
} from '@heddle/netlink';
import type { Platform } from '@heddle/sys';
import { onNetworkChange } from './network-news.ts';

/** An address of this node and the network interface that has it. */
export interface OwnAddress {
  readonly address: string;
  readonly device: string;
}

/**
 * Returns the addresses of this network namespace that other hosts can reach (global and site
 * scope), sorted. Throws NetlinkError.
 */
export function ownAddresses(platform: Platform): OwnAddress[] {
  using socket = new NetlinkSocket(platform);
  const names = new Map(listLinks(socket).map(({ index, name }) => [index, name]));
  return listAddresses(socket)
    .filter(isReachable)
    .map(({ address, link }) => ({ address, device: names.get(link) ?? '' }))
    .sort((a, b) => (text(a) < text(b) ? -1 : 1));
}

/** Returns whether other hosts can reach an address (global and site scope). */
export function isReachable({ scope }: Pick<LinkAddress, 'scope'>): boolean {
  return scope === 'universe' || scope === 'site';
}

/**
 * Calls `changed` with the own addresses whenever they have changed, until it is disposed of.
 * `first` are the addresses before the first call. Throws SysError and NetlinkError.
 */
export function watchOwnAddresses(
  platform: Platform,
  first: readonly OwnAddress[],
  changed: (addresses: OwnAddress[]) => void,
): Disposable {
  let known = first.map(text).join();
  const isRelevant = (event: NetworkEvent) =>
    event.kind === 'address' && isReachable(event.address);
  return onNetworkChange(platform, ['addresses'], isRelevant, () => {
    const now = ownAddresses(platform);
    const all = now.map(text).join();
    if (all === known) return;
    known = all;
    changed(now);
  });
}

function text({ address, device }: OwnAddress): string {
  return `${address} ${device}`;
}
