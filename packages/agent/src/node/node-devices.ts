import type { NodeDevice } from '@heddle/datapath';
import {
  IFF_LOOPBACK,
  listAddresses,
  listLinks,
  listRoutes,
  NetlinkSocket,
  type NetworkEvent,
  type NetworkLink,
  type Route,
} from '@heddle/netlink';
import { tunnelName } from '@heddle/podnet';
import type { Platform } from '@heddle/sys';
import { deviceMatches } from './device-names.ts';
import { onNetworkChange } from './network-news.ts';
import { isReachable } from './own-addresses.ts';

/** The network interfaces that the configuration selects, and the node's addresses. */
export interface NodeView {
  readonly devices: readonly NodeDevice[];
  /** The addresses of the node, those of external interfaces first. */
  readonly addresses: readonly string[];
  /** The reasons why configured network interfaces are missing, in sentences. */
  readonly problems: readonly string[];
}

/** The largest number of addresses of the BPF programs (SNAT_ADDRESSES in bpf/abi/ct.h, less one). */
const maxAddresses = 63;
/** The time before the first retry after the datapath refused network interfaces; it doubles with each failure. */
const firstRetryMs = 1000;
const longestRetryMs = 30_000;
/** The length of an Ethernet address as text; the programs need Ethernet headers. */
const ethernetLength = '00:00:00:00:00:00'.length;

/** The configured network interfaces: names with commas between, in which `*` matches anything. */
export interface WantedDevices {
  /**
   * The interfaces of external traffic; also `none`, and `auto`: those of default routes, or, without any, those
   * with an address that other hosts can reach.
   */
  readonly devices: string;
  /** The interfaces of pods; also `none`. They appear and disappear, so that a missing one is no problem. */
  readonly podDevices: string;
}

/** Returns the configured network interfaces of this network namespace. Throws NetlinkError. */
export function findNodeDevices(
  platform: Platform,
  { devices: wanted, podDevices }: WantedDevices,
): NodeView {
  using socket = new NetlinkSocket(platform);
  const links = listLinks(socket).filter(({ flags }) => (flags & IFF_LOOPBACK) === 0);
  const addresses = listAddresses(socket).filter(isReachable);
  const problems: string[] = [];
  const chosen =
    wanted === 'auto'
      ? automatic(
          links,
          listRoutes(socket).filter(isDefault).flatMap(linksOf),
          addresses.map(({ link }) => link),
        )
      : named(links, wanted, problems);
  const devices: NodeDevice[] = [];
  for (const { name, index, address } of chosen) {
    if (address.length === ethernetLength) devices.push({ name, index, address });
    else problems.push(`network interface ${name} is not served: it is no Ethernet interface`);
  }
  const front = new Set(devices.map(({ index }) => index));
  for (const { name, index, address } of named(links, podDevices, [])) {
    if (front.has(index))
      problems.push(
        `network interface ${name} is selected by devices and podDevices: podDevices is ignored for it`,
      );
    else if (address.length === ethernetLength) devices.push({ name, index, address, pods: true });
    else problems.push(`network interface ${name} is not served: it is no Ethernet interface`);
  }
  const all = new Set([
    ...addresses.filter(({ link }) => front.has(link)).map(({ address }) => address),
    ...addresses.map(({ address }) => address),
  ]);
  return { devices, addresses: [...all].slice(0, maxAddresses), problems };
}

/**
 * Calls `changed` with the configured network interfaces, at once and whenever they or the addresses have changed,
 * until it is disposed; it repeats the call while `changed` returns false. Throws SysError, NetlinkError.
 */
export function watchNodeDevices(
  platform: Platform,
  wanted: WantedDevices,
  changed: (view: NodeView) => boolean,
): Disposable {
  let known = '';
  let failures = 0;
  let retry: Disposable | undefined;
  let last: NodeView | undefined;
  const look = () => {
    const view = findNodeDevices(platform, wanted);
    last = view;
    const text = JSON.stringify(view);
    if (text === known) return;
    retry?.[Symbol.dispose]();
    retry = undefined;
    if (changed(view)) {
      known = text;
      failures = 0;
      return;
    }
    const waitMs = Math.min(firstRetryMs * 2 ** failures++, longestRetryMs);
    retry = platform.setTimer(waitMs, look);
  };
  const watch = onNetworkChange(
    platform,
    ['links', 'addresses', 'routes'],
    (event) => concernsNodeDevices(event, wanted, last?.devices ?? []),
    look,
  );
  try {
    look();
  } catch (error) {
    watch[Symbol.dispose]();
    throw error;
  }
  return {
    [Symbol.dispose]() {
      retry?.[Symbol.dispose]();
      watch[Symbol.dispose]();
    },
  };
}

/**
 * Returns whether an event can change what `findNodeDevices` returns; `known` are the devices that it
 * has returned. A node with many pods must not list everything each time a pod's interface comes or
 * goes.
 */
export function concernsNodeDevices(
  event: NetworkEvent,
  { devices, podDevices }: WantedDevices,
  known: readonly Pick<NodeDevice, 'index'>[],
): boolean {
  switch (event.kind) {
    case 'link': {
      const { index, name } = event.link;
      const patterns = [devices, podDevices]
        .filter((names) => names !== 'auto')
        .flatMap(patternsOf);
      const isNamed = patterns.some((pattern) => deviceMatches(pattern, name));
      return isNamed || known.some((device) => device.index === index);
    }
    case 'address':
      return isReachable(event.address);
    case 'route':
      return isDefault(event.route);
    default:
      return event.kind === 'lost';
  }
}

function isDefault({ destination }: Route): boolean {
  return destination === '0.0.0.0/0' || destination === '::/0';
}

function linksOf({ link, nextHops = [] }: Route): number[] {
  return [{ link }, ...nextHops].flatMap((hop) => hop.link ?? []);
}

function patternsOf(names: string): string[] {
  return names === 'none' ? [] : names.split(',').map((pattern) => pattern.trim());
}

function automatic(
  links: readonly NetworkLink[],
  routed: readonly number[],
  addressed: readonly number[],
): readonly NetworkLink[] {
  const wanted = new Set(routed.length > 0 ? routed : addressed);
  // Other interfaces, e.g. of a VPN, must be named.
  return links.filter(
    ({ name, index, address }) =>
      wanted.has(index) && address.length === ethernetLength && name !== tunnelName,
  );
}

function named(
  links: readonly NetworkLink[],
  wanted: string,
  problems: string[],
): readonly NetworkLink[] {
  const found = new Set<NetworkLink>();
  for (const pattern of patternsOf(wanted)) {
    const matching = links.filter(({ name }) => deviceMatches(pattern, name));
    if (matching.length === 0) problems.push(`network interface ${pattern} does not exist`);
    for (const link of matching) found.add(link);
  }
  return [...found];
}
