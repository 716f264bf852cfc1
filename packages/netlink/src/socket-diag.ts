import { formatIp, isIpv4 } from '@heddle/sys';
import { AF_INET, AF_INET6 } from '@heddle/sys/net';
import { MalformedMessage, removed } from './errors.ts';
import { addressText, type Family, readAddress } from './inet.ts';
import type { NetlinkSocket } from './socket.ts';
import { Attributes, type Message, MessageWriter } from './wire.ts';

// linux/sock_diag.h, linux/inet_diag.h
const SOCK_DIAG_BY_FAMILY = 20;
const SOCK_DESTROY = 21;
const requestSize = 56;
const answerSize = 72;
const idSize = 48;
/** An attribute of IPv6 sockets that listen or are not connected (inet_diag_msg_attrs_fill). */
const INET_DIAG_SKV6ONLY = 11;

const protocolNumbers = { tcp: 6, udp: 17 } as const;

/** Socket states by number (net/tcp_states.h). A UDP socket is established when connected, else close. */
const states = [
  'unknown',
  'established',
  'syn-sent',
  'syn-received',
  'fin-wait-1',
  'fin-wait-2',
  'time-wait',
  'close',
  'close-wait',
  'last-ack',
  'listen',
  'closing',
  'new-syn-received',
  'bound-inactive',
] as const;

export type SocketState = (typeof states)[number];

/** A TCP or UDP socket of the network namespace. */
export interface InetSocket {
  /** Family of the socket. When an IPv6 socket carries IPv4 traffic, its addresses read as IPv4. */
  readonly family: Family;
  readonly protocol: 'tcp' | 'udp';
  readonly state: SocketState;
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  /** True for an IPv6 socket without IPv4 (IPV6_V6ONLY) that listens or is not connected. */
  readonly ipv6Only: boolean;
  /** User id of the process that opened the socket. */
  readonly uid: number;
  /** Inode number, as in /proc/<pid>/fd; 0 when no process has the socket open any more. */
  readonly inode: number;
  /** The value of bpf_get_socket_cookie() and SO_COOKIE, which no other socket ever has. */
  readonly cookie: bigint;
  /** struct inet_diag_sockid, by which requests name the socket. */
  readonly id: Uint8Array;
}

export interface SocketFilter {
  readonly protocol: 'tcp' | 'udp';
  /** Address of the peer. An IPv4 address matches IPv6 sockets that carry IPv4, too. */
  readonly destination?: string;
  /** Port of the peer, in host byte order. The kernel filters by it. */
  readonly destinationPort?: number;
  /** Default: all. */
  readonly states?: readonly SocketState[];
}

/**
 * Returns the sockets of both families that match `filter`, in the network namespace of `socket`,
 * which is one of protocol NETLINK_SOCK_DIAG. Throws NetlinkError (ENOENT when the kernel has no
 * inet_diag for the protocol).
 */
export function listSockets(socket: NetlinkSocket, filter: SocketFilter): InetSocket[] {
  const wanted = filter.destination && plainAddress(readAddress(filter.destination).bytes);
  const found: InetSocket[] = [];
  for (const family of [AF_INET, AF_INET6] as const) {
    const id = new Uint8Array(idSize);
    new DataView(id.buffer).setUint16(2, filter.destinationPort ?? 0, false);
    const request = encodeRequest(family, filter.protocol, stateMask(filter.states), id);
    const writer = new MessageWriter(SOCK_DIAG_BY_FAMILY).header(request);
    for (const message of socket.dump(writer, `list ${filter.protocol} sockets`)) {
      const each = readInetSocket(message, filter.protocol);
      if (wanted === undefined || each.destination === wanted) found.push(each);
    }
  }
  return found;
}

/**
 * Aborts a socket (Linux 4.5 with CONFIG_INET_DIAG_DESTROY): further calls of its process fail with
 * ECONNABORTED. Returns false when the socket is gone. Throws NetlinkError (EOPNOTSUPP without
 * support).
 */
export function destroySocket(socket: NetlinkSocket, target: InetSocket): boolean {
  const request = encodeRequest(target.family, target.protocol, 0xffffffff, target.id);
  const writer = new MessageWriter(SOCK_DESTROY).header(request);
  const to = `${target.destination} port ${target.destinationPort}`;
  const what = `destroy ${target.protocol} socket to ${to}`;
  return removed(() => socket.request(writer, what), 'ENOENT');
}

/** Reads a struct inet_diag_msg. Throws MalformedMessage. */
export function readInetSocket(message: Message, protocol: 'tcp' | 'udp'): InetSocket {
  const { body } = message;
  const family = body[0];
  if (body.length < answerSize || (family !== AF_INET && family !== AF_INET6)) {
    throw new MalformedMessage(
      `read socket: ${body.length} bytes of family ${family} where ${answerSize} of IP are needed`,
    );
  }
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const length = family === AF_INET ? 4 : 16;
  return {
    family,
    protocol,
    state: states[body[1]!] ?? 'unknown',
    sourcePort: view.getUint16(4, false),
    destinationPort: view.getUint16(6, false),
    source: plainAddress(body.subarray(8, 8 + length)),
    destination: plainAddress(body.subarray(24, 24 + length)),
    ipv6Only: family === AF_INET6 && isIpv6Only(body),
    cookie: view.getBigUint64(44, true),
    uid: view.getUint32(64, true),
    inode: view.getUint32(68, true),
    id: body.slice(4, 4 + idSize),
  };
}

function isIpv6Only(body: Uint8Array): boolean {
  return Attributes.read(body.subarray(answerSize)).bytes(INET_DIAG_SKV6ONLY)?.[0] === 1;
}

/** Returns the text of an address; IPv4 addresses of IPv6 sockets are without `::ffff:`. */
function plainAddress(bytes: Uint8Array): string {
  return bytes.length === 16 && isIpv4(bytes) ? formatIp(bytes) : addressText(bytes);
}

function stateMask(wanted: readonly SocketState[] | undefined): number {
  if (!wanted) return 0xffffffff;
  return wanted.reduce((mask, state) => mask | (1 << states.indexOf(state)), 0) >>> 0;
}

/** Returns a struct inet_diag_req_v2: family, protocol, extensions, pad (u8 each), states u32, id. */
function encodeRequest(
  family: Family,
  protocol: 'tcp' | 'udp',
  mask: number,
  id: Uint8Array,
): Uint8Array {
  const bytes = new Uint8Array(requestSize);
  bytes[0] = family;
  bytes[1] = protocolNumbers[protocol];
  new DataView(bytes.buffer).setUint32(4, mask, true);
  bytes.set(id, 8);
  return bytes;
}
