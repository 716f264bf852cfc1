import { encodeCString, encodeUtf8, errno } from '@heddle/sys';
import { AF_UNSPEC } from '@heddle/sys/net';
import { isNetlinkError, MalformedMessage, NetlinkError, removed } from './errors.ts';
import { checkedIndex, macText, readMac } from './inet.ts';
import type { NetlinkSocket } from './socket.ts';
import { type ExternalVxlan, readVxlan } from './vxlan-settings.ts';
import { Attributes, type Message, MessageWriter, NLM_F_CREATE, NLM_F_EXCL } from './wire.ts';

// linux/if_link.h, linux/rtnetlink.h, linux/veth.h
export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINK = 5;
const IFLA_MASTER = 10;
export const IFLA_LINKINFO = 18;
const IFLA_IFALIAS = 20;
const IFLA_NET_NS_FD = 28;
const IFLA_LINK_NETNSID = 37;
const IFLA_GSO_MAX_SIZE = 41;
const IFLA_GRO_MAX_SIZE = 58;
const IFLA_TSO_MAX_SIZE = 59;
const IFLA_GSO_IPV4_MAX_SIZE = 63;
const IFLA_GRO_IPV4_MAX_SIZE = 64;
export const IFLA_INFO_KIND = 1;
export const IFLA_INFO_DATA = 2;
const VETH_INFO_PEER = 1;
const IFLA_NETKIT_PEER_INFO = 1;
const IFLA_NETKIT_POLICY = 3;
const IFLA_NETKIT_PEER_POLICY = 4;
const IFLA_NETKIT_MODE = 5;
const NETKIT_DROP = 2;
const netkitModes = { l2: 0, l3: 1 } as const;
const headerSize = 16;

export const IFF_UP = 0x1;
export const IFF_LOOPBACK = 0x8;
export const IFF_RUNNING = 0x40;
export const IFF_NOARP = 0x80;

/** A network interface, which rtnetlink calls a link. */
export interface NetworkLink {
  /** ifindex, unique in its network namespace. */
  readonly index: number;
  readonly name: string;
  /** `veth`, `bridge`, `netkit`, ...; undefined for loopback and hardware. */
  readonly kind: string | undefined;
  /** Link-layer address, e.g. `02:00:00:00:00:01`; empty for a link without one. */
  readonly address: string;
  /** Bytes. */
  readonly mtu: number;
  /** IFF_* bits (linux/if.h). */
  readonly flags: number;
  readonly up: boolean;
  /** ifindex of the bridge or bond that this link is a port of. */
  readonly master: number | undefined;
  /**
   * ifindex of the other end (veth, netkit) or of the lower link. It counts in another network
   * namespace when `peerNamespaceId` is set.
   */
  readonly peer: number | undefined;
  /** The id by which this link's network namespace knows the peer's. */
  readonly peerNamespaceId: number | undefined;
  /** A text that userspace has attached to the link (ifalias); undefined when there is none. */
  readonly alias: string | undefined;
  /** The settings of a VXLAN device in external mode; undefined for other links. */
  readonly vxlan: ExternalVxlan | undefined;
  /** Largest packets before segmentation, bytes. */
  readonly segments: SegmentSizes;
}

/** Sizes of packets that stand for several segments (GSO, GRO), in bytes. 0: the kernel does not know the limit. */
export interface SegmentSizes {
  /** Largest packet that the link accepts (gso_max_size), for IPv6 and for IPv4 (Linux 6.3). */
  readonly gso: number;
  readonly gsoIpv4: number;
  /** Largest packet that the link's GRO makes, for IPv6 and for IPv4 (Linux 6.3). */
  readonly gro: number;
  readonly groIpv4: number;
  /** Largest possible gso_max_size of the link (Linux 5.19). */
  readonly tsoMax: number;
}

/** Settings of a link; absent ones stay unchanged. */
export interface LinkSettings {
  readonly name?: string;
  /** Link-layer address, e.g. `02:00:00:00:00:01`. */
  readonly address?: string;
  /** Bytes. */
  readonly mtu?: number;
  readonly up?: boolean;
  /** ifindex of the bridge to join; 0 leaves the bridge. */
  readonly master?: number;
  /** False: neighbours are not asked for their link-layer addresses (IFF_NOARP). */
  readonly arp?: boolean;
  /** A text of at most 255 bytes; an empty one removes the alias. */
  readonly alias?: string;
  /**
   * Largest packet before segmentation and after GRO, of both families, in bytes. Above 65,536 (BIG TCP) IPv6 needs
   * Linux 5.19; older kernels than 6.3 ignore it for IPv4.
   */
  readonly segmentSize?: number;
  /** Descriptor of the network namespace to move to. */
  readonly namespaceFd?: number;
}

/** Settings of a link that is created. The kernel ignores the others then: set them by `changeLink`. */
export interface NewLink extends Omit<LinkSettings, 'alias' | 'segmentSize'> {
  readonly name: string;
}

/** The two ends of a created pair, each as its own network namespace sees it. */
export interface LinkPair {
  readonly link: NetworkLink;
  readonly peer: NetworkLink;
}

/** Returns the links of the socket's network namespace. Throws NetlinkError. */
export function listLinks(socket: NetlinkSocket): NetworkLink[] {
  const writer = new MessageWriter(RTM_GETLINK).header(linkHeader(0));
  return socket.dump(writer, 'list links').map(readLink);
}

/** Returns the link with that name or ifindex, or undefined when there is none. Throws NetlinkError. */
export function findLink(socket: NetlinkSocket, which: string | number): NetworkLink | undefined {
  const what = `find link ${which}`;
  const index = typeof which === 'number' ? checkedIndex(which, what) : 0;
  const writer = new MessageWriter(RTM_GETLINK).header(linkHeader(index));
  if (typeof which === 'string') writer.text(IFLA_IFNAME, checkedName(which));
  try {
    const [answer] = socket.request(writer, what);
    return answer && readLink(answer);
  } catch (error) {
    if (isNetlinkError(error, 'ENODEV')) return undefined;
    throw error;
  }
}

/**
 * Creates a veth pair and returns both ends. Each end has its own settings and may be created in a
 * network namespace of its own (`namespaceFd`), so that it never appears in another one. The pair
 * is created by one request; a second one brings the peer up if `peer.up` is set, because the
 * kernel cannot open an end before the pair is complete. Throws NetlinkError, and then leaves no
 * link behind.
 */
export function createVeth(socket: NetlinkSocket, link: NewLink, peer: NewLink): LinkPair {
  return createPair(socket, 'veth', VETH_INFO_PEER, link, peer);
}

/**
 * Creates a netkit pair (Linux 6.8 with CONFIG_NETKIT), whose ends run BPF programs on the packets
 * that the other end sends, and returns both ends. `link` becomes the primary end. Links of mode
 * `l3` have no link-layer addresses. An end without a program passes all packets, or with
 * `isBlackhole` none. Namespaces and `peer.up` work as with `createVeth`. Throws NetlinkError
 * (EOPNOTSUPP without netkit).
 */
export function createNetkit(
  socket: NetlinkSocket,
  mode: keyof typeof netkitModes,
  link: NewLink,
  peer: NewLink,
  isBlackhole = false,
): LinkPair {
  return createPair(socket, 'netkit', IFLA_NETKIT_PEER_INFO, link, peer, (writer) => {
    writer.u32(IFLA_NETKIT_MODE, netkitModes[mode]);
    if (!isBlackhole) return;
    writer.u32(IFLA_NETKIT_POLICY, NETKIT_DROP);
    writer.u32(IFLA_NETKIT_PEER_POLICY, NETKIT_DROP);
  });
}

function createPair(
  socket: NetlinkSocket,
  kind: 'veth' | 'netkit',
  peerAttribute: number,
  link: NewLink,
  peer: NewLink,
  writeMore: (writer: MessageWriter) => void = () => {},
): LinkPair {
  const writer = newLinkMessage(link);
  writer.nested(IFLA_LINKINFO, () => {
    writer.text(IFLA_INFO_KIND, kind);
    writer.nested(IFLA_INFO_DATA, () => {
      writer.nested(peerAttribute, () => {
        writer.header(linkHeader(0));
        writeSettings(writer, peer);
      });
      writeMore(writer);
    });
  });
  socket.request(writer, `create ${kind} ${link.name} with peer ${peer.name}`);
  try {
    if (peer.up) {
      inNamespaceOf(socket, peer, (there) =>
        changeLink(there, createdLink(there, peer).index, { up: true }),
      );
    }
    return {
      link: inNamespaceOf(socket, link, (there) => createdLink(there, link)),
      peer: inNamespaceOf(socket, peer, (there) => createdLink(there, peer)),
    };
  } catch (error) {
    inNamespaceOf(socket, link, (there) => deleteLink(there, createdLink(there, link).index));
    throw error;
  }
}

/** Creates a bridge and returns it. Throws NetlinkError. */
export function createBridge(socket: NetlinkSocket, link: NewLink): NetworkLink {
  const writer = newLinkMessage(link);
  writer.nested(IFLA_LINKINFO, () => writer.text(IFLA_INFO_KIND, 'bridge'));
  socket.request(writer, `create bridge ${link.name}`);
  return inNamespaceOf(socket, link, (there) => createdLink(there, link));
}

/** Runs `work` with a socket of the network namespace that a link was created in. */
function inNamespaceOf<Result>(
  socket: NetlinkSocket,
  { namespaceFd }: NewLink,
  work: (socket: NetlinkSocket) => Result,
): Result {
  if (namespaceFd === undefined) return work(socket);
  using there = socket.openIn(namespaceFd);
  return work(there);
}

/** Returns a request for a new link with its settings, to which the caller adds the kind. */
export function newLinkMessage(link: NewLink): MessageWriter {
  const writer = new MessageWriter(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  writer.header(linkHeader(0, link));
  writeSettings(writer, link);
  return writer;
}

/** Returns a link that was just created. Throws NetlinkError. */
export function createdLink(socket: NetlinkSocket, { name }: NewLink): NetworkLink {
  const link = findLink(socket, name);
  if (!link) throw new NetlinkError(`find created link ${name}`, errno.ENODEV);
  return link;
}

/** Changes all given settings of a link in one request. Throws NetlinkError. */
export function changeLink(socket: NetlinkSocket, index: number, settings: LinkSettings): void {
  const what = `change link ${index}`;
  const writer = new MessageWriter(RTM_NEWLINK);
  writer.header(linkHeader(checkedIndex(index, what), settings));
  writeSettings(writer, settings);
  socket.request(writer, what);
}

/**
 * Deletes a link, and the other end of a pair. Returns false when there is no such link. Throws
 * NetlinkError.
 */
export function deleteLink(socket: NetlinkSocket, index: number): boolean {
  const what = `delete link ${index}`;
  const writer = new MessageWriter(RTM_DELLINK).header(linkHeader(checkedIndex(index, what)));
  return removed(() => socket.request(writer, what), 'ENODEV');
}

/** Reads an RTM_NEWLINK or RTM_DELLINK message. Throws MalformedMessage. */
export function readLink(message: Message): NetworkLink {
  const { body } = message;
  if (body.length < headerSize) {
    throw new MalformedMessage(`read link: ${body.length} bytes where ${headerSize} are needed`);
  }
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const attributes = Attributes.read(body.subarray(headerSize));
  const flags = view.getUint32(8, true);
  const address = attributes.bytes(IFLA_ADDRESS);
  const info = attributes.nested(IFLA_LINKINFO);
  const kind = info?.text(IFLA_INFO_KIND);
  return {
    index: view.getInt32(4, true),
    name: attributes.text(IFLA_IFNAME) ?? '',
    kind,
    address: address ? macText(address) : '',
    mtu: attributes.u32(IFLA_MTU) ?? 0,
    flags,
    up: (flags & IFF_UP) !== 0,
    master: attributes.u32(IFLA_MASTER),
    peer: attributes.u32(IFLA_LINK) || undefined,
    peerNamespaceId: attributes.s32(IFLA_LINK_NETNSID),
    alias: attributes.text(IFLA_IFALIAS),
    vxlan: kind === 'vxlan' ? readVxlan(info?.nested(IFLA_INFO_DATA)) : undefined,
    segments: {
      gso: attributes.u32(IFLA_GSO_MAX_SIZE) ?? 0,
      gsoIpv4: attributes.u32(IFLA_GSO_IPV4_MAX_SIZE) ?? 0,
      gro: attributes.u32(IFLA_GRO_MAX_SIZE) ?? 0,
      groIpv4: attributes.u32(IFLA_GRO_IPV4_MAX_SIZE) ?? 0,
      tsoMax: attributes.u32(IFLA_TSO_MAX_SIZE) ?? 0,
    },
  };
}

/** Returns a struct ifinfomsg: family u8, pad, type u16, index s32, flags u32, change mask u32. */
function linkHeader(index: number, { up, arp }: LinkSettings = {}): Uint8Array {
  const bytes = new Uint8Array(headerSize);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, AF_UNSPEC);
  view.setInt32(4, index, true);
  view.setUint32(8, (up ? IFF_UP : 0) | (arp === false ? IFF_NOARP : 0), true);
  const changed = (up === undefined ? 0 : IFF_UP) | (arp === undefined ? 0 : IFF_NOARP);
  view.setUint32(12, changed, true);
  return bytes;
}

function writeSettings(writer: MessageWriter, settings: LinkSettings): void {
  if (settings.name !== undefined) writer.text(IFLA_IFNAME, checkedName(settings.name));
  if (settings.address !== undefined) writer.bytes(IFLA_ADDRESS, readMac(settings.address));
  if (settings.mtu !== undefined) writer.u32(IFLA_MTU, settings.mtu);
  if (settings.master !== undefined) writer.u32(IFLA_MASTER, settings.master);
  if (settings.alias !== undefined) writer.bytes(IFLA_IFALIAS, encodeUtf8(settings.alias));
  if (settings.namespaceFd !== undefined) writer.u32(IFLA_NET_NS_FD, settings.namespaceFd);
  if (settings.segmentSize !== undefined) {
    // The order matters: the kernel copies a size of at most 65,536 to IPv4 when it sets the one of IPv6.
    for (const attribute of [
      ...[IFLA_GSO_MAX_SIZE, IFLA_GRO_MAX_SIZE],
      ...[IFLA_GSO_IPV4_MAX_SIZE, IFLA_GRO_IPV4_MAX_SIZE],
    ]) {
      writer.u32(attribute, settings.segmentSize);
    }
  }
}

/**
 * Returns the name of a link. Throws RangeError for one that the kernel would truncate or refuse
 * without an explanation.
 */
function checkedName(name: string): string {
  const length = encodeCString(name).length;
  if (length < 2 || length > 16 || /[/\s:]/.test(name) || name === '.' || name === '..') {
    throw new RangeError(`use link name ${name}: not 1 to 15 bytes without slash, colon or space`);
  }
  return name;
}
