import {
  listAddresses,
  listLinks,
  listRoutes,
  NetlinkSocket,
  type NetworkEvent,
  type Route,
} from '@heddle/netlink';
import { routeProtocol, tunnelName } from '@heddle/podnet';
import type { Underlay, UnderlayRoute } from '@heddle/routes';
import type { Platform } from '@heddle/sys';
import { onNetworkChange } from '../../node/network-news.ts';
import { concernsNodeDevices, findNodeDevices } from '../../node/node-devices.ts';
import { isReachable } from '../../node/own-addresses.ts';

/** The network between the nodes, as this node's links show it. */
export interface UnderlayView extends Underlay {
  /** The smallest MTU of the external interfaces, in bytes. */
  readonly mtu: number;
  /** The indexes of the external interfaces. */
  readonly external: ReadonlySet<number>;
}

/** The MTU of a node without external interfaces. */
const usualMtu = 1500;

/** Reads the links, addresses and routes of this network namespace. Throws NetlinkError. */
export function readUnderlay(platform: Platform, devices: string): UnderlayView {
  const wanted = findNodeDevices(platform, { devices, podDevices: 'none' }).devices;
  const external = new Set(wanted.map(({ index }) => index));
  using socket = new NetlinkSocket(platform);
  const links = listLinks(socket);
  const names = new Map(links.map(({ index, name }) => [index, name]));
  const tunnel = links.find(({ name }) => name === tunnelName)?.index;
  const addresses = listAddresses(socket).filter(
    (each) => isReachable(each) && each.link !== tunnel,
  );
  return {
    addresses: [
      ...addresses.filter(({ link }) => external.has(link)),
      ...addresses.filter(({ link }) => !external.has(link)),
    ].map(({ address }) => address),
    routes: listRoutes(socket).flatMap((route) => underlayRoute(route, external, names) ?? []),
    ...(tunnel === undefined ? {} : { tunnel }),
    external,
    mtu: Math.min(
      ...links.filter(({ index }) => external.has(index)).map(({ mtu }) => mtu),
      external.size === 0 ? usualMtu : Number.POSITIVE_INFINITY,
    ),
  };
}

function underlayRoute(
  route: Route,
  external: ReadonlySet<number>,
  names: ReadonlyMap<number, string>,
): UnderlayRoute | undefined {
  const { destination, protocol, link, via, nextHops, encap, type } = route;
  if (protocol === routeProtocol || type !== 'unicast') return undefined;
  const isDefault = destination.endsWith('/0');
  const isOnLink =
    !isDefault &&
    via === undefined &&
    !nextHops &&
    !encap &&
    link !== undefined &&
    external.has(link);
  return {
    ...{ destination, isOnLink, device: names.get(link ?? 0) ?? '' },
    ...(link === undefined ? {} : { link }),
  };
}

/**
 * Calls `changed` when links, addresses or routes change on which paths to other nodes depend, or when others remove
 * what this node has for them. `known` returns the last view. Throws SysError, NetlinkError.
 */
export function watchUnderlay(
  platform: Platform,
  devices: string,
  known: () => Pick<UnderlayView, 'external'> | undefined,
  changed: () => void,
): Disposable {
  const wanted = { devices, podDevices: 'none' };
  const isRelevant = (event: NetworkEvent) => {
    const external = known()?.external ?? new Set<number>();
    if (event.kind === 'link') {
      const { index, name } = event.link;
      if (name === tunnelName || external.has(index)) return true;
    }
    if (event.kind === 'route') {
      const { protocol, link, nextHops } = event.route;
      if (protocol === routeProtocol) return event.isRemoved;
      if (nextHops || (link !== undefined && external.has(link))) return true;
    }
    return concernsNodeDevices(event, wanted, []);
  };
  return onNetworkChange(platform, ['links', 'addresses', 'routes'], isRelevant, changed);
}
