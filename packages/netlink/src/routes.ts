import { AF_INET, AF_INET6 } from '@heddle/sys/net';
import { type Scope, scopeName, scopeNumber } from './addresses.ts';
import { MalformedMessage, removed } from './errors.ts';
import {
  addressText,
  anyAddress,
  checkedIndex,
  type Family,
  readAddress,
  readPrefix,
} from './inet.ts';
import { type RouteEncap, readEncap, writeEncap } from './route-encap.ts';
import type { NetlinkSocket } from './socket.ts';
import {
  Attributes,
  type Message,
  MessageWriter,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
} from './wire.ts';

// linux/rtnetlink.h
export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_METRICS = 8;
const RTA_MULTIPATH = 9;
const RTA_TABLE = 15;
const RTA_VIA = 18;
const RTAX_MTU = 2;
const RTNH_F_ONLINK = 4;
const RTM_F_CLONED = 0x200;
/** The protocol of routes that do not say who has added them (RTPROT_BOOT). */
const bootProtocol = 3;
const RTN_UNICAST = 1;
const headerSize = 12;
const nextHopSize = 8;

export const mainTable = 254;
export const localTable = 255;

const types = [
  'unspecified',
  'unicast',
  'local',
  'broadcast',
  'anycast',
  'multicast',
  'blackhole',
  'unreachable',
  'prohibit',
] as const;

export type RouteType = (typeof types)[number];

/** The next hop of a route. */
export interface NextHop {
  /** Address of the next router; for an IPv4 destination of either family (RFC 5549, Linux 5.2). */
  readonly via?: string;
  /** ifindex of the link that packets leave by. */
  readonly link?: number;
  /** The router is reachable on `link` although no route leads to it. */
  readonly onlink?: boolean;
}

/** One of several next hops. */
export interface WeightedNextHop extends NextHop {
  /** Share of the traffic relative to the other next hops, 1 to 256. Default: 1. */
  readonly weight?: number;
}

/** A route. The kernel chooses what is absent. */
export interface Route extends NextHop {
  /** E.g. `10.0.0.0/8`; `0.0.0.0/0` and `::/0` are the default routes. */
  readonly destination: string;
  /** The next hops of a multipath route, which has no `via`, `link` and `onlink` of its own. */
  readonly nextHops?: readonly WeightedNextHop[];
  /** Preferred source address. */
  readonly source?: string;
  /** Default for IPv4: link without a next hop, universe with one. IPv6 routes have universe. */
  readonly scope?: Scope;
  readonly type?: RouteType;
  /** Default: the main table, 254. */
  readonly table?: number;
  readonly metric?: number;
  /** Largest packet for this route, bytes. */
  readonly mtu?: number;
  /** A number for the program that has added the route (RTPROT_*). Default: 3, boot. */
  readonly protocol?: number;
  /** The tunnel that packets are put into; `link` is then a tunnel device. */
  readonly encap?: RouteEncap;
}

/**
 * Adds a route. Throws NetlinkError (EEXIST when there is one with this destination, table and
 * metric) and RangeError.
 */
export function addRoute(socket: NetlinkSocket, route: Route): void {
  const writer = new MessageWriter(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
  const what = `add route to ${route.destination}`;
  socket.request(writeRoute(writer, route, what), what);
}

/**
 * Adds a route, or replaces the one with this destination, table and metric. Throws NetlinkError
 * and RangeError.
 */
export function replaceRoute(socket: NetlinkSocket, route: Route): void {
  const writer = new MessageWriter(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
  const what = `replace route to ${route.destination}`;
  socket.request(writeRoute(writer, route, what), what);
}

/**
 * Removes the route that matches all given fields; returns false when there is none. Throws
 * NetlinkError and RangeError.
 */
export function removeRoute(socket: NetlinkSocket, route: Route): boolean {
  // In a removal RT_SCOPE_NOWHERE matches every scope.
  const any = { scope: 'nowhere', ...route } as const;
  const what = `remove route to ${route.destination}`;
  const writer = writeRoute(new MessageWriter(RTM_DELROUTE), any, what);
  return removed(() => socket.request(writer, what), 'ESRCH');
}

/**
 * Returns the routes of both families of one table, which is the main table by default. Throws
 * NetlinkError.
 */
export function listRoutes(socket: NetlinkSocket, table: number = mainTable): Route[] {
  const found: Route[] = [];
  for (const family of [AF_INET, AF_INET6]) {
    const header = new Uint8Array(headerSize);
    header[0] = family;
    const writer = new MessageWriter(RTM_GETROUTE).header(header);
    for (const message of socket.dump(writer, 'list routes')) {
      const route = readRoute(message);
      if (route && route.table === table) found.push(route);
    }
  }
  return found;
}

/**
 * Reads an RTM_NEWROUTE or RTM_DELROUTE message; returns undefined for families other than IP and
 * for cached routes. Throws MalformedMessage.
 */
export function readRoute(message: Message): Route | undefined {
  const { body } = message;
  if (body.length < headerSize) {
    throw new MalformedMessage(`read route: ${body.length} bytes where ${headerSize} are needed`);
  }
  const family = body[0]!;
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const flags = view.getUint32(8, true);
  if ((family !== AF_INET && family !== AF_INET6) || flags & RTM_F_CLONED) return undefined;
  const attributes = Attributes.read(body.subarray(headerSize));
  const destination = addressText(attributes.bytes(RTA_DST) ?? anyAddress(family));
  const nextHops = attributes.bytes(RTA_MULTIPATH);
  const link = attributes.u32(RTA_OIF);
  const source = attributes.bytes(RTA_PREFSRC);
  const metric = attributes.u32(RTA_PRIORITY);
  const mtu = attributes.nested(RTA_METRICS)?.u32(RTAX_MTU);
  const encap = readEncap(attributes);
  return {
    destination: `${destination}/${body[1]!}`,
    ...readVia(attributes),
    ...(link !== undefined && { link }),
    ...(nextHops && { nextHops: readNextHops(nextHops) }),
    ...(source && { source: addressText(source) }),
    scope: scopeName(body[6]!),
    onlink: (flags & RTNH_F_ONLINK) !== 0,
    type: types[body[7]!] ?? 'unspecified',
    table: attributes.u32(RTA_TABLE) ?? body[4]!,
    ...(metric !== undefined && { metric }),
    ...(mtu !== undefined && { mtu }),
    protocol: body[5]!,
    ...(encap && { encap }),
  };
}

/** Reads structs rtnexthop: length u16, flags u8, weight - 1 u8, ifindex s32, then attributes. */
function readNextHops(bytes: Uint8Array): WeightedNextHop[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found: WeightedNextHop[] = [];
  for (let at = 0; at < bytes.length; ) {
    const left = bytes.length - at;
    const length = left < nextHopSize ? 0 : view.getUint16(at, true);
    if (length < nextHopSize || length > left) {
      throw new MalformedMessage(`read next hop: length ${length} of ${left} bytes`);
    }
    const attributes = Attributes.read(bytes.subarray(at + nextHopSize, at + length));
    found.push({
      ...readVia(attributes),
      link: view.getInt32(at + 4, true),
      onlink: (bytes[at + 2]! & RTNH_F_ONLINK) !== 0,
      weight: bytes[at + 3]! + 1,
    });
    at += (length + 3) & ~3;
  }
  return found;
}

function readVia(attributes: Attributes): { via?: string } {
  // struct rtvia: family u16, then the address.
  const via = attributes.bytes(RTA_GATEWAY) ?? attributes.bytes(RTA_VIA)?.subarray(2);
  return via ? { via: addressText(via) } : {};
}

function writeRoute(writer: MessageWriter, route: Route, what: string): MessageWriter {
  const { family, bytes, prefixLength } = readPrefix(route.destination);
  const hasRouter = [route, ...(route.nextHops ?? [])].some(({ via }) => via !== undefined);
  const scope = route.scope ?? (family === AF_INET && !hasRouter ? 'link' : 'universe');
  const { table = mainTable, protocol = bootProtocol } = route;
  const type = route.type === undefined ? RTN_UNICAST : types.indexOf(route.type);
  // struct rtmsg: family, destination and source length, tos, table, protocol, scope, type (u8
  // each), flags u32.
  const header = new Uint8Array(headerSize);
  header.set([family, prefixLength, 0, 0, 0, protocol, scopeNumber(scope), type]);
  new DataView(header.buffer).setUint32(8, route.onlink ? RTNH_F_ONLINK : 0, true);
  writer.header(header).u32(RTA_TABLE, table);
  if (prefixLength > 0) writer.bytes(RTA_DST, bytes);
  writeVia(writer, route, family);
  if (route.link !== undefined) writer.u32(RTA_OIF, checkedIndex(route.link, what));
  if (route.nextHops) writeNextHops(writer, route.nextHops, family, what);
  if (route.source !== undefined) writer.bytes(RTA_PREFSRC, readAddress(route.source).bytes);
  if (route.metric !== undefined) writer.u32(RTA_PRIORITY, route.metric);
  if (route.mtu !== undefined) {
    const { mtu } = route;
    writer.nested(RTA_METRICS, () => writer.u32(RTAX_MTU, mtu));
  }
  if (route.encap) writeEncap(writer, route.encap);
  return writer;
}

function writeVia(writer: MessageWriter, { via: text }: NextHop, family: Family): void {
  if (text === undefined) return;
  const via = readAddress(text);
  if (via.family === family) writer.bytes(RTA_GATEWAY, via.bytes);
  else writer.bytes(RTA_VIA, Uint8Array.of(via.family, 0, ...via.bytes));
}

function writeNextHops(
  writer: MessageWriter,
  nextHops: readonly WeightedNextHop[],
  family: Family,
  what: string,
): void {
  writer.nested(RTA_MULTIPATH, () => {
    for (const hop of nextHops) {
      const { link, onlink, weight = 1 } = hop;
      if (!Number.isInteger(weight) || weight < 1 || weight > 256) {
        throw new RangeError(`${what}: weight ${weight} is not between 1 and 256`);
      }
      const index = link === undefined ? 0 : checkedIndex(link, what);
      writer.sized(() => {
        const header = Uint8Array.of(0, 0, onlink ? RTNH_F_ONLINK : 0, weight - 1, 0, 0, 0, 0);
        new DataView(header.buffer).setInt32(4, index, true);
        writeVia(writer.header(header), hop, family);
      });
    }
  });
}
