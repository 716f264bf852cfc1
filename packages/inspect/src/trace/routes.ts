import { localTable, mainTable, type Route } from '@heddle/netlink';
import { cidrContains, formatIp, parseCidr, parseIp } from '@heddle/sys';
import { AF_INET } from '@heddle/sys/net';
import type { Routes } from '@heddle/vm';
import type { DumpedNetwork } from '../dump/dump.ts';

// linux/bpf.h: results of bpf_fib_lookup
export const fib = {
  success: 0,
  blackhole: 1,
  unreachable: 2,
  prohibited: 3,
  notForwarded: 4,
  forwardingDisabled: 5,
  noNeighbour: 7,
  tooLarge: 8,
} as const;

const LOOKUP_SOURCE = 1 << 4;
// struct bpf_fib_lookup
const LENGTH = 6;
const IFINDEX = 8;
const SOURCE = 16;
const DESTINATION = 32;
const OWN_MAC = 52;
const NEXT_MAC = 58;

const IPV4_IN_IPV6 = 12;

/**
 * Implements bpf_fib_lookup with the routes and neighbours of a dump: the local and the main table,
 * the longest prefix first, then the lowest metric. Rules, other tables and multipath routes are
 * ignored.
 */
export function dumpedRoutes(network: DumpedNetwork): Routes {
  const routes = network.routes.flatMap((route) => {
    const range = parseCidr(route.destination);
    const known = route.table === undefined || tables.has(route.table);
    const isV4 = !route.destination.includes(':');
    return range && known ? [{ route, range, isV4 }] : [];
  });
  // The local table has precedence (ip-rule(8)).
  routes.sort(
    (a, b) =>
      Number(isLocal(b.route)) - Number(isLocal(a.route)) ||
      b.range.prefixLength - a.range.prefixLength ||
      (a.route.metric ?? 0) - (b.route.metric ?? 0),
  );
  const own = new Set(network.addresses.map(({ address }) => address));
  return (lookup, flags) => {
    const view = new DataView(lookup.buffer, lookup.byteOffset, lookup.byteLength);
    const isV4 = lookup[0] === AF_INET;
    const destination = addressAt(lookup, DESTINATION, isV4);
    if (own.has(formatIp(destination))) return fib.notForwarded;
    const forwards = isV4 ? network.forwards.ipv4 : network.forwards.ipv6;
    if (!forwards) return fib.forwardingDisabled;
    const found = routes.find(
      (each) => each.isV4 === isV4 && cidrContains(each.range, destination),
    )?.route;
    const refused = found
      ? refusals[found.type ?? 'unicast']
      : isV4
        ? fib.unreachable
        : fib.notForwarded;
    if (!found || refused !== undefined) return refused ?? fib.notForwarded;
    const link = network.links.find(({ index }) => index === found.link);
    if (!link) return fib.notForwarded;
    const mtu = found.mtu ?? link.mtu;
    if (view.getUint16(LENGTH, true) > mtu) {
      view.setUint16(LENGTH, mtu, true);
      return fib.tooLarge;
    }
    view.setUint16(LENGTH, mtu, true);
    view.setUint32(IFINDEX, link.index, true);
    if (flags & LOOKUP_SOURCE) {
      const source = sourceFor(network, found, isV4, destination);
      if (source) put(lookup, SOURCE, source, isV4);
    }
    const hop = found.via ?? formatIp(destination);
    const hopBytes = parseIp(hop);
    if (found.via !== undefined && hopBytes) put(lookup, DESTINATION, hopBytes, isV4);
    const neighbour = network.neighbours.find(
      (each) => each.link === link.index && each.address === hop && each.lladdr !== '',
    );
    if (!neighbour) return fib.noNeighbour;
    lookup.set(macBytes(link.address), OWN_MAC);
    lookup.set(macBytes(neighbour.lladdr), NEXT_MAC);
    return fib.success;
  };
}

const refusals: Readonly<Record<string, number>> = {
  local: fib.notForwarded,
  broadcast: fib.notForwarded,
  anycast: fib.notForwarded,
  multicast: fib.notForwarded,
  blackhole: fib.blackhole,
  unreachable: fib.unreachable,
  prohibit: fib.prohibited,
};

const tables: ReadonlySet<number> = new Set([mainTable, localTable]);

const isLocal = ({ type }: Route) => type === 'local' || type === 'broadcast' || type === 'anycast';

function sourceFor(
  { addresses }: DumpedNetwork,
  route: Route,
  isV4: boolean,
  destination: Uint8Array,
): Uint8Array | undefined {
  if (route.source !== undefined) return parseIp(route.source);
  const usable = addresses.filter(
    ({ link, scope, address }) =>
      link === route.link && scope === 'universe' && address.includes(':') !== isV4,
  );
  const hop = (route.via === undefined ? undefined : parseIp(route.via)) ?? destination;
  const near = usable.find(({ address, prefixLength: length }) => {
    const range = parseCidr(`${address}/${length}`);
    return range !== undefined && cidrContains(range, hop);
  });
  const chosen = near ?? usable[0];
  return chosen && parseIp(chosen.address);
}

/** Returns an address of the struct as 16 bytes. */
export function addressAt(lookup: Uint8Array, at: number, isV4: boolean): Uint8Array {
  if (!isV4) return lookup.slice(at, at + 16);
  const bytes = new Uint8Array(16).fill(0xff, 10, 12);
  bytes.set(lookup.subarray(at, at + 4), IPV4_IN_IPV6);
  return bytes;
}

function put(lookup: Uint8Array, at: number, address: Uint8Array, isV4: boolean): void {
  lookup.set(isV4 ? address.subarray(IPV4_IN_IPV6) : address, at);
}

/** Returns the bytes of an Ethernet address. */
export function macBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(6);
  text.split(':').forEach((part, i) => {
    if (i < 6) bytes[i] = Number.parseInt(part, 16);
  });
  return bytes;
}
