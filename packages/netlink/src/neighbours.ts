import { AF_INET, AF_INET6 } from '@heddle/sys/net';
import { MalformedMessage, removed } from './errors.ts';
import { addressText, checkedIndex, macText, readAddress, readMac } from './inet.ts';
import type { NetlinkSocket } from './socket.ts';
import {
  Attributes,
  type Message,
  MessageWriter,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
} from './wire.ts';

// linux/neighbour.h
export const RTM_NEWNEIGH = 28;
export const RTM_DELNEIGH = 29;
const RTM_GETNEIGH = 30;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const NUD_PERMANENT = 0x80;
const NTF_PROXY = 0x08;
const headerSize = 12;

/** An entry of the neighbour table (ARP and IPv6 neighbour discovery). */
export interface Neighbour {
  /** ifindex of the link. */
  readonly link: number;
  /** IP address. */
  readonly address: string;
  /** Link-layer address; empty while it is unknown. */
  readonly lladdr: string;
  /** NUD_* (linux/neighbour.h): 0x02 reachable, 0x04 stale, 0x80 permanent, ... */
  readonly state: number;
  readonly permanent: boolean;
}

/** A permanent entry that is added. */
export interface NewNeighbour {
  /** ifindex of the link. */
  readonly link: number;
  /** IP address. */
  readonly address: string;
  /** Link-layer address, e.g. `02:00:00:00:00:01`. */
  readonly lladdr: string;
}

/** Adds a permanent entry. Throws NetlinkError (EEXIST when the address has one). */
export function addNeighbour(socket: NetlinkSocket, neighbour: NewNeighbour): void {
  write(socket, neighbour, NLM_F_CREATE | NLM_F_EXCL, 'add');
}

/** Adds a permanent entry, or replaces the entry of the address. Throws NetlinkError. */
export function replaceNeighbour(socket: NetlinkSocket, neighbour: NewNeighbour): void {
  write(socket, neighbour, NLM_F_CREATE | NLM_F_REPLACE, 'replace');
}

/** Removes the entry of an address; returns false when there is none. Throws NetlinkError. */
export function removeNeighbour(socket: NetlinkSocket, link: number, address: string): boolean {
  const what = `remove neighbour ${address} from link ${link}`;
  const { family, bytes } = readAddress(address);
  const writer = new MessageWriter(RTM_DELNEIGH)
    .header(neighbourHeader(family, checkedIndex(link, what), 0))
    .bytes(NDA_DST, bytes);
  return removed(() => socket.request(writer, what), 'ENOENT');
}

/** Returns the addresses of others for which the node answers on a link. Throws NetlinkError. */
export function listProxyNeighbours(socket: NetlinkSocket, link: number): string[] {
  return [AF_INET, AF_INET6].flatMap((family) => {
    const header = neighbourHeader(family, 0, 0, NTF_PROXY);
    const writer = new MessageWriter(RTM_GETNEIGH).header(header);
    return [...socket.dump(writer, 'list addresses that the node answers for')].flatMap(
      (message) => {
        const neighbour = readNeighbour(message);
        return neighbour?.link === link ? [neighbour.address] : [];
      },
    );
  });
}

/**
 * Makes the node answer for an address of others on a link: to ARP, and, if the link's setting `proxy_ndp` is on, to
 * neighbour discovery. One that it answers for already is fine. Throws NetlinkError.
 */
export function addProxyNeighbour(socket: NetlinkSocket, link: number, address: string): void {
  const what = `answer for ${address} on link ${link}`;
  socket.request(
    proxyRequest(new MessageWriter(RTM_NEWNEIGH, NLM_F_CREATE), link, address, what),
    what,
  );
}

/** Ends what addProxyNeighbour does; returns false when there was nothing to end. Throws NetlinkError. */
export function removeProxyNeighbour(
  socket: NetlinkSocket,
  link: number,
  address: string,
): boolean {
  const what = `stop to answer for ${address} on link ${link}`;
  const request = proxyRequest(new MessageWriter(RTM_DELNEIGH), link, address, what);
  return removed(() => socket.request(request, what), 'ENOENT');
}

function proxyRequest(
  writer: MessageWriter,
  link: number,
  address: string,
  what: string,
): MessageWriter {
  const { family, bytes } = readAddress(address);
  const header = neighbourHeader(family, checkedIndex(link, what), 0, NTF_PROXY);
  return writer.header(header).bytes(NDA_DST, bytes);
}

/**
 * Returns the entries of both families in the socket's network namespace, or those of the link with
 * ifindex `link`. Throws NetlinkError.
 */
export function listNeighbours(socket: NetlinkSocket, link?: number): Neighbour[] {
  const found: Neighbour[] = [];
  for (const family of [AF_INET, AF_INET6]) {
    const writer = new MessageWriter(RTM_GETNEIGH).header(neighbourHeader(family, 0, 0));
    for (const message of socket.dump(writer, 'list neighbours')) {
      const neighbour = readNeighbour(message);
      if (neighbour && (link === undefined || neighbour.link === link)) found.push(neighbour);
    }
  }
  return found;
}

/**
 * Reads an RTM_NEWNEIGH or RTM_DELNEIGH message; returns undefined for families other than IP.
 * Throws MalformedMessage.
 */
export function readNeighbour(message: Message): Neighbour | undefined {
  const { body } = message;
  if (body.length < headerSize) {
    throw new MalformedMessage(
      `read neighbour: ${body.length} bytes where ${headerSize} are needed`,
    );
  }
  if (body[0] !== AF_INET && body[0] !== AF_INET6) return undefined;
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const attributes = Attributes.read(body.subarray(headerSize));
  const address = attributes.bytes(NDA_DST);
  if (!address) throw new MalformedMessage('read neighbour: the message carries no address');
  const state = view.getUint16(8, true);
  return {
    link: view.getInt32(4, true),
    address: addressText(address),
    lladdr: macText(attributes.bytes(NDA_LLADDR) ?? new Uint8Array(0)),
    state,
    permanent: (state & NUD_PERMANENT) !== 0,
  };
}

function write(
  socket: NetlinkSocket,
  neighbour: NewNeighbour,
  flags: number,
  verb: 'add' | 'replace',
): void {
  const what = `${verb} neighbour ${neighbour.address} on link ${neighbour.link}`;
  const { family, bytes } = readAddress(neighbour.address);
  const writer = new MessageWriter(RTM_NEWNEIGH, flags)
    .header(neighbourHeader(family, checkedIndex(neighbour.link, what), NUD_PERMANENT))
    .bytes(NDA_DST, bytes)
    .bytes(NDA_LLADDR, readMac(neighbour.lladdr));
  socket.request(writer, what);
}

/** Returns a struct ndmsg: family u8, pad, ifindex s32, state u16, flags u8, type u8. */
function neighbourHeader(family: number, link: number, state: number, flags = 0): Uint8Array {
  const bytes = new Uint8Array(headerSize);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, family);
  view.setInt32(4, link, true);
  view.setUint16(8, state, true);
  view.setUint8(10, flags);
  return bytes;
}
