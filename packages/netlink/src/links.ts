import { encodeCString } from '@heddle/sys';
import { AF_UNSPEC } from '@heddle/sys/net';
import { MalformedMessage } from './errors.ts';
import { macText, readMac } from './inet.ts';
import type { NetlinkSocket } from './socket.ts';
import { Attributes, type Message, MessageWriter, NLM_F_CREATE, NLM_F_EXCL } from './wire.ts';

// linux/if_link.h, linux/rtnetlink.h, linux/veth.h; IFLA_NETKIT_*
const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINK = 5;
const IFLA_MASTER = 10;
const IFLA_LINKINFO = 18;
const IFLA_NET_NS_FD = 28;
const IFLA_LINK_NETNSID = 37;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const VETH_INFO_PEER = 1;
const IFLA_NETKIT_PEER_INFO = 1;
const IFLA_NETKIT_MODE = 5;
const netkitModes = { l2: 0, l3: 1 } as const;
const headerSize = 16;

export const IFF_UP = 0x1;
export const IFF_LOOPBACK = 0x8;
export const IFF_RUNNING = 0x40;

/** A network device. */
export interface Link {
  /** ifindex, unique in its namespace. */
  readonly index: number;
  readonly name: string;
  /** `veth`, `bridge`, `netkit`, ...; undefined for loopback and hardware. */
  readonly kind: string | undefined;
  /** Link-layer address, e.g. `02:00:00:00:00:01`; empty when the device has none. */
  readonly address: string;
  readonly mtu: number;
  /** IFF_* (linux/if.h). */
  readonly flags: number;
  readonly up: boolean;
  /** ifindex of the bridge or bond that this device is a port of. */
  readonly master: number | undefined;
  /** ifindex of the peer (veth) or the lower device; in another namespace when `peerNamespaceId` is set. */
  readonly peer: number | undefined;
  /** The kernel's id for the peer's namespace, as seen from this one. */
  readonly peerNamespaceId: number | undefined;
}

/** What can be changed on a link; what is absent stays as it is. */
export interface LinkSettings {
  readonly name?: string;
  /** Link-layer address, e.g. `02:00:00:00:00:01`. */
  readonly address?: string;
  /** Bytes. */
  readonly mtu?: number;
  readonly up?: boolean;
  /** ifindex of the bridge to join; 0 leaves it. */
  readonly master?: number;
  /** Descriptor of the network namespace to move to. */
  readonly namespaceFd?: number;
}

export interface NewLink extends LinkSettings {
  readonly name: string;
}

/** Devices of the socket's namespace. Throws NetlinkError. */
export function listLinks(socket: NetlinkSocket): Link[] {
  const writer = new MessageWriter(RTM_GETLINK).header(linkHeader(0));
  return socket.dump(writer, 'list links').map(readLink);
}

/** The device with that name or ifindex, or undefined. Throws NetlinkError. */
export function findLink(socket: NetlinkSocket, which: string | number): Link | undefined {
  const writer = new MessageWriter(RTM_GETLINK).header(
    linkHeader(typeof which === 'number' ? which : 0),
  );
  if (typeof which === 'string') writer.text(IFLA_IFNAME, checkedName(which));
  try {
    const [answer] = socket.request(writer, `find link ${which}`);
    return answer && readLink(answer);
  } catch (error) {
    if ((error as { code?: string }).code === 'ENODEV') return undefined;
    throw error;
  }
}

/**
 * Creates a veth pair. Each end may go to a namespace of its own straight away (`namespaceFd`),
 * so that neither shows up where it doesn't belong. The peer starts down: the kernel brings it into
 * being before the pair is tied, when it can't be up yet. Throws NetlinkError.
 */
export function createVeth(
  socket: NetlinkSocket,
  link: NewLink,
  peer: Omit<NewLink, 'up' | 'master'>,
): void {
  createPair(socket, 'veth', VETH_INFO_PEER, link, peer);
}

/**
 * Creates a netkit pair (Linux 6.8 with CONFIG_NETKIT), whose ends run BPF programs on what the
 * other end sends; `link` becomes the primary end. Mode `l3` has no link-layer addresses. The ends
 * go to their namespaces as with `createVeth`. Throws NetlinkError (EOPNOTSUPP without netkit).
 */
export function createNetkit(
  socket: NetlinkSocket,
  mode: keyof typeof netkitModes,
  link: NewLink,
  peer: Omit<NewLink, 'up' | 'master'>,
): void {
  createPair(socket, 'netkit', IFLA_NETKIT_PEER_INFO, link, peer, (writer) =>
    writer.u32(IFLA_NETKIT_MODE, netkitModes[mode]),
  );
}

function createPair(
  socket: NetlinkSocket,
  kind: 'veth' | 'netkit',
  peerAttribute: number,
  link: NewLink,
  peer: Omit<NewLink, 'up' | 'master'>,
  writeMore: (writer: MessageWriter) => void = () => {},
): void {
  const writer = new MessageWriter(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  writer.header(linkHeader(0, link.up));
  writeSettings(writer, link);
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
}

/** Creates a bridge. Throws NetlinkError. */
export function createBridge(socket: NetlinkSocket, link: NewLink): void {
  const writer = new MessageWriter(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  writer.header(linkHeader(0, link.up));
  writeSettings(writer, link);
  writer.nested(IFLA_LINKINFO, () => writer.text(IFLA_INFO_KIND, 'bridge'));
  socket.request(writer, `create bridge ${link.name}`);
}

/** Changes a link, all settings in one request. Throws NetlinkError. */
export function changeLink(socket: NetlinkSocket, index: number, settings: LinkSettings): void {
  const writer = new MessageWriter(RTM_NEWLINK).header(linkHeader(index, settings.up));
  writeSettings(writer, settings);
  socket.request(writer, `change link ${index}`);
}

/** Deletes a link (and, for veth, its peer); false when there is none. Throws NetlinkError. */
export function deleteLink(socket: NetlinkSocket, index: number): boolean {
  const writer = new MessageWriter(RTM_DELLINK).header(linkHeader(index));
  try {
    socket.request(writer, `delete link ${index}`);
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === 'ENODEV') return false;
    throw error;
  }
}

/** Reads an RTM_NEWLINK message. Throws MalformedMessage. */
export function readLink(message: Message): Link {
  const { body } = message;
  if (body.length < headerSize) {
    throw new MalformedMessage(`read link: ${body.length} bytes where ${headerSize} are needed`);
  }
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const attributes = Attributes.read(body.subarray(headerSize));
  const flags = view.getUint32(8, true);
  const address = attributes.bytes(IFLA_ADDRESS);
  return {
    index: view.getInt32(4, true),
    name: attributes.text(IFLA_IFNAME) ?? '',
    kind: attributes.nested(IFLA_LINKINFO)?.text(IFLA_INFO_KIND),
    address: address ? macText(address) : '',
    mtu: attributes.u32(IFLA_MTU) ?? 0,
    flags,
    up: (flags & IFF_UP) !== 0,
    master: attributes.u32(IFLA_MASTER),
    peer: attributes.u32(IFLA_LINK) || undefined,
    peerNamespaceId: attributes.s32(IFLA_LINK_NETNSID),
  };
}

/** struct ifinfomsg: family u8, pad, type u16, index s32, flags u32, change mask u32. */
function linkHeader(index: number, up?: boolean): Uint8Array {
  const bytes = new Uint8Array(headerSize);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, AF_UNSPEC);
  view.setInt32(4, index, true);
  if (up !== undefined) {
    view.setUint32(8, up ? IFF_UP : 0, true);
    view.setUint32(12, IFF_UP, true);
  }
  return bytes;
}

function writeSettings(writer: MessageWriter, settings: LinkSettings): void {
  if (settings.name !== undefined) writer.text(IFLA_IFNAME, checkedName(settings.name));
  if (settings.address !== undefined) writer.bytes(IFLA_ADDRESS, readMac(settings.address));
  if (settings.mtu !== undefined) writer.u32(IFLA_MTU, settings.mtu);
  if (settings.master !== undefined) writer.u32(IFLA_MASTER, settings.master);
  if (settings.namespaceFd !== undefined) writer.u32(IFLA_NET_NS_FD, settings.namespaceFd);
}

/** The kernel would cut a longer name short or answer with a bare ERANGE. */
function checkedName(name: string): string {
  const length = encodeCString(name).length;
  if (length < 2 || length > 16 || /[/\s:]/.test(name) || name === '.' || name === '..') {
    throw new RangeError(`name link ${name}: 1 to 15 bytes without slash, colon or space`);
  }
  return name;
}
