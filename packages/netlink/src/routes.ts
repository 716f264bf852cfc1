import { AF_INET, AF_INET6 } from '@heddle/sys/net';
import { type Scope, scopeName, scopeNumber } from './addresses.ts';
import { MalformedMessage } from './errors.ts';
import { addressText, anyAddress, readAddress, readPrefix } from './inet.ts';
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
const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_METRICS = 8;
const RTA_TABLE = 15;
const RTA_VIA = 18;
const RTAX_MTU = 2;
const RTNH_F_ONLINK = 4;
const RTM_F_CLONED = 0x200;
const RTPROT_BOOT = 3;
const RTN_UNICAST = 1;
const headerSize = 12;

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

/** A route; what is absent is left to the kernel. */
export interface Route {
  /** E.g. `10.0.0.0/8`; `0.0.0.0/0` and `::/0` are the default routes. */
  readonly destination: string;
  /** The next hop; of either family for an IPv4 destination (RFC 5549, Linux 5.2). */
  readonly via?: string;
  /** ifindex of the device to leave by. */
  readonly link?: number;
  /** Preferred source address. */
  readonly source?: string;
  /** Default: link without a next hop, universe with one (IPv4 only; IPv6 has universe always). */
  readonly scope?: Scope;
  /** The next hop is reachable on `link` although no route says so. */
  readonly onlink?: boolean;
  readonly type?: RouteType;
  /** Default: the main table, 254. */
  readonly table?: number;
  readonly metric?: number;
  /** Largest packet for this route, bytes. */
  readonly mtu?: number;
}

/** Adds a route. Throws NetlinkError (EEXIST when there is one with this destination and metric). */
export function addRoute(socket: NetlinkSocket, route: Route): void {
  const writer = new MessageWriter(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
  socket.request(writeRoute(writer, route), `add route to ${route.destination}`);
}

/** Adds a route, or puts it in the place of the one with this destination and metric. */
export function replaceRoute(socket: NetlinkSocket, route: Route): void {
  const writer = new MessageWriter(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
  socket.request(writeRoute(writer, route), `replace route to ${route.destination}`);
}

/** Removes the route that all given fields match; false when there is none. Throws NetlinkError. */
export function removeRoute(socket: NetlinkSocket, route: Route): boolean {
  const writer = new MessageWriter(RTM_DELROUTE);
  try {
    // RT_SCOPE_NOWHERE stands for any scope in a removal.
    socket.request(
      writeRoute(writer, { scope: 'nowhere', ...route }),
      `remove route to ${route.destination}`,
    );
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === 'ESRCH') return false;
    throw error;
  }
}

/**
 * Routes of both families with one next hop, of one table (the main one unless given). Those with
 * several next hops appear without `via` and `link`.
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
 * Reads an RTM_NEWROUTE message; undefined for families other than IP and for cached routes.
 * Throws MalformedMessage.
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
  // struct rtvia: family u16, then the address.
  const via = attributes.bytes(RTA_GATEWAY) ?? attributes.bytes(RTA_VIA)?.subarray(2);
  const link = attributes.u32(RTA_OIF);
  const source = attributes.bytes(RTA_PREFSRC);
  const metric = attributes.u32(RTA_PRIORITY);
  const mtu = attributes.nested(RTA_METRICS)?.u32(RTAX_MTU);
  return {
    destination: `${destination}/${body[1]!}`,
    ...(via && { via: addressText(via) }),
    ...(link !== undefined && { link }),
    ...(source && { source: addressText(source) }),
    scope: scopeName(body[6]!),
    onlink: (flags & RTNH_F_ONLINK) !== 0,
    type: types[body[7]!] ?? 'unspecified',
    table: attributes.u32(RTA_TABLE) ?? body[4]!,
    ...(metric !== undefined && { metric }),
    ...(mtu !== undefined && { mtu }),
  };
}

function writeRoute(writer: MessageWriter, route: Route): MessageWriter {
  const { family, bytes, prefixLength } = readPrefix(route.destination);
  const via = route.via === undefined ? undefined : readAddress(route.via);
  const scope = route.scope ?? (family === AF_INET && !via ? 'link' : 'universe');
  const table = route.table ?? mainTable;
  const type = route.type === undefined ? RTN_UNICAST : types.indexOf(route.type);
  // struct rtmsg: family, destination and source length, tos, table, protocol, scope, type (u8
  // each), flags u32.
  const header = new Uint8Array(headerSize);
  header.set([family, prefixLength, 0, 0, 0, RTPROT_BOOT, scopeNumber(scope), type]);
  new DataView(header.buffer).setUint32(8, route.onlink ? RTNH_F_ONLINK : 0, true);
  writer.header(header).u32(RTA_TABLE, table);
  if (prefixLength > 0) writer.bytes(RTA_DST, bytes);
  if (via && via.family === family) {
    writer.bytes(RTA_GATEWAY, via.bytes);
  } else if (via) {
    writer.bytes(RTA_VIA, Uint8Array.of(via.family, 0, ...via.bytes));
  }
  if (route.link !== undefined) writer.u32(RTA_OIF, route.link);
  if (route.source !== undefined) writer.bytes(RTA_PREFSRC, readAddress(route.source).bytes);
  if (route.metric !== undefined) writer.u32(RTA_PRIORITY, route.metric);
  if (route.mtu !== undefined) {
    const { mtu } = route;
    writer.nested(RTA_METRICS, () => writer.u32(RTAX_MTU, mtu));
  }
  return writer;
}
