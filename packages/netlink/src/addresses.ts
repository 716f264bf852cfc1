import { AF_INET, AF_INET6 } from '@heddle/sys/net';
import { MalformedMessage, removed } from './errors.ts';
import { addressText, checkedIndex, readPrefix } from './inet.ts';
import type { NetlinkSocket } from './socket.ts';
import { Attributes, type Message, MessageWriter, NLM_F_CREATE, NLM_F_EXCL } from './wire.ts';

// linux/if_addr.h
export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
const RTM_GETADDR = 22;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_FLAGS = 8;
const IFA_F_NODAD = 0x02;
const headerSize = 8;

/** The scope in which an address or a route is valid (RT_SCOPE_* of linux/rtnetlink.h). */
export type Scope = 'universe' | 'site' | 'link' | 'host' | 'nowhere';

const scopeNumbers: Readonly<Record<Scope, number>> = {
  universe: 0,
  site: 200,
  link: 253,
  host: 254,
  nowhere: 255,
};

export function scopeNumber(scope: Scope): number {
  return scopeNumbers[scope];
}

/** Returns the scope of a number; user-defined scopes (1 to 199) count as site. */
export function scopeName(number: number): Scope {
  if (number === 0) return 'universe';
  if (number === 253) return 'link';
  if (number === 254) return 'host';
  return number === 255 ? 'nowhere' : 'site';
}

/** An IP address of a link. */
export interface LinkAddress {
  /** ifindex of the link. */
  readonly link: number;
  readonly family: typeof AF_INET | typeof AF_INET6;
  /** Text, e.g. `10.0.0.1` or `fd00::1`. */
  readonly address: string;
  readonly prefixLength: number;
  readonly scope: Scope;
  /** IFA_F_* bits (linux/if_addr.h), e.g. 0x40 while duplicate address detection runs. */
  readonly flags: number;
}

export interface AddressOptions {
  /** Default: universe. */
  readonly scope?: Scope;
}

/**
 * Adds `prefix`, an address with its prefix length (e.g. `10.0.0.1/24`), to the link with ifindex
 * `link`. IPv6 addresses are added without duplicate address detection, so that they are usable at
 * once. Throws NetlinkError (EEXIST when the link has the address) and RangeError.
 */
export function addAddress(
  socket: NetlinkSocket,
  link: number,
  prefix: string,
  options: AddressOptions = {},
): void {
  const what = `add address ${prefix} to link ${link}`;
  const writer = new MessageWriter(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
  writeAddress(writer, checkedIndex(link, what), prefix, options.scope ?? 'universe');
  socket.request(writer, what);
}

/**
 * Removes an address, given with its prefix length. Returns false when the link does not have it.
 * Throws NetlinkError and RangeError.
 */
export function removeAddress(socket: NetlinkSocket, link: number, prefix: string): boolean {
  const what = `remove address ${prefix} from link ${link}`;
  const writer = new MessageWriter(RTM_DELADDR);
  writeAddress(writer, checkedIndex(link, what), prefix, 'universe');
  return removed(() => socket.request(writer, what), 'EADDRNOTAVAIL');
}

/**
 * Returns the addresses of both families in the socket's network namespace, or those of the link
 * with ifindex `link`. Throws NetlinkError.
 */
export function listAddresses(socket: NetlinkSocket, link?: number): LinkAddress[] {
  const writer = new MessageWriter(RTM_GETADDR).header(new Uint8Array(headerSize));
  const found: LinkAddress[] = [];
  for (const message of socket.dump(writer, 'list addresses')) {
    const address = readLinkAddress(message);
    if (address && (link === undefined || address.link === link)) found.push(address);
  }
  return found;
}

/**
 * Reads an RTM_NEWADDR or RTM_DELADDR message; returns undefined for families other than IP. Throws
 * MalformedMessage.
 */
export function readLinkAddress(message: Message): LinkAddress | undefined {
  const { body } = message;
  if (body.length < headerSize) {
    throw new MalformedMessage(`read address: ${body.length} bytes where ${headerSize} are needed`);
  }
  const family = body[0]!;
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const attributes = Attributes.read(body.subarray(headerSize));
  // On point-to-point links IFA_LOCAL is the own address and IFA_ADDRESS that of the peer.
  const bytes = attributes.bytes(IFA_LOCAL) ?? attributes.bytes(IFA_ADDRESS);
  if (!bytes) throw new MalformedMessage('read address: the message carries none');
  return {
    link: view.getUint32(4, true),
    family,
    address: addressText(bytes),
    prefixLength: body[1]!,
    scope: scopeName(body[3]!),
    flags: attributes.u32(IFA_FLAGS) ?? body[2]!,
  };
}

function writeAddress(writer: MessageWriter, link: number, prefix: string, scope: Scope): void {
  const { family, bytes, prefixLength } = readPrefix(prefix);
  if (!prefix.includes('/')) {
    throw new RangeError(
      `read address ${prefix}: it has no prefix length (write ${prefix}/${bytes.length * 8} for one without a subnet)`,
    );
  }
  // struct ifaddrmsg: family, prefix length, flags, scope (u8 each), ifindex u32.
  const header = Uint8Array.of(family, prefixLength, 0, scopeNumber(scope), 0, 0, 0, 0);
  new DataView(header.buffer).setUint32(4, link, true);
  writer.header(header).bytes(IFA_LOCAL, bytes).bytes(IFA_ADDRESS, bytes);
  if (family === AF_INET6) writer.u32(IFA_FLAGS, IFA_F_NODAD);
}
