import { MalformedMessage, removed } from './errors.ts';
import { checkedIndex } from './inet.ts';
import type { NetlinkSocket } from './socket.ts';
import { Attributes, type Message, MessageWriter, NLM_F_CREATE, NLM_F_EXCL } from './wire.ts';

// linux/rtnetlink.h, linux/pkt_sched.h
const RTM_NEWQDISC = 36;
const RTM_DELQDISC = 37;
const RTM_GETQDISC = 38;
const TCA_KIND = 1;
const TCA_OPTIONS = 2;
const TCA_INGRESS_BLOCK = 13;
const TCA_EGRESS_BLOCK = 14;
const headerSize = 20;

/** Parents of qdiscs (TC_H_* of linux/pkt_sched.h). `TC_H_INGRESS` is that of ingress and clsact. */
export const TC_H_ROOT = 0xffffffff;
export const TC_H_INGRESS = 0xfffffff1;

/** A queueing discipline of a link. */
export interface Qdisc {
  /** ifindex of the link. */
  readonly link: number;
  /** `fq`, `tbf`, `clsact`, ... */
  readonly kind: string;
  /** Handle, whose upper 16 bits are the major number. */
  readonly handle: number;
  /** TC_H_ROOT, TC_H_INGRESS, or the handle of a class. */
  readonly parent: number;
  /** The blocks of filters that the link shares with others. */
  readonly blocks: FilterBlocks;
}

/** Numbers of blocks of filters, for the ingress and the egress of links that share them. */
export interface FilterBlocks {
  readonly ingress?: number;
  readonly egress?: number;
}

/** A qdisc that is added. */
export interface NewQdisc {
  /** ifindex of the link. */
  readonly link: number;
  readonly kind: string;
  /** Default: the kernel chooses. */
  readonly handle?: number;
  /** Default: TC_H_INGRESS for ingress and clsact, otherwise TC_H_ROOT. */
  readonly parent?: number;
  /** The blocks of filters that a clsact qdisc shares with those of other links. */
  readonly blocks?: FilterBlocks;
  /** Appends the attributes of TCA_OPTIONS, which are those of the kind. */
  readonly options?: (writer: MessageWriter) => void;
}

/** Returns the qdiscs of the socket's network namespace, or those of one link. Throws NetlinkError. */
export function listQdiscs(socket: NetlinkSocket, link?: number): Qdisc[] {
  const writer = new MessageWriter(RTM_GETQDISC).header(tcHeader({ link: 0 }));
  return socket
    .dump(writer, 'list qdiscs')
    .map(readQdisc)
    .filter((qdisc) => link === undefined || qdisc.link === link);
}

/** Adds a qdisc. Throws NetlinkError (EEXIST when the parent has one). */
export function addQdisc(socket: NetlinkSocket, qdisc: NewQdisc): void {
  const { link, kind, blocks, options } = qdisc;
  const what = `add qdisc ${kind} to link ${link}`;
  const parent = qdisc.parent ?? defaultParent(kind);
  // An ingress qdisc always has the handle ffff:.
  const handle = qdisc.handle ?? (parent === TC_H_INGRESS ? 0xffff0000 : 0);
  const writer = new MessageWriter(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL)
    .header(tcHeader({ link: checkedIndex(link, what), handle, parent }))
    .text(TCA_KIND, kind);
  if (blocks?.ingress !== undefined) writer.u32(TCA_INGRESS_BLOCK, blocks.ingress);
  if (blocks?.egress !== undefined) writer.u32(TCA_EGRESS_BLOCK, blocks.egress);
  if (options) writer.nested(TCA_OPTIONS, options);
  socket.request(writer, what);
}

/**
 * Removes the qdisc of `kind` from its parent, which is that of `addQdisc` by default. Returns false
 * when the parent has no qdisc of that kind. Throws NetlinkError.
 */
export function removeQdisc(
  socket: NetlinkSocket,
  { link, kind, parent = defaultParent(kind) }: Pick<NewQdisc, 'link' | 'kind' | 'parent'>,
): boolean {
  const what = `remove qdisc ${kind} from link ${link}`;
  const writer = new MessageWriter(RTM_DELQDISC)
    .header(tcHeader({ link: checkedIndex(link, what), parent }))
    .text(TCA_KIND, kind);
  // EINVAL: the parent has a qdisc of another kind.
  return removed(() => socket.request(writer, what), 'ENOENT', 'EINVAL');
}

/** Reads an RTM_NEWQDISC message. Throws MalformedMessage. */
export function readQdisc(message: Message): Qdisc {
  const { link, handle, parent, attributes } = readTcMessage(message, 'qdisc');
  const kind = attributes.text(TCA_KIND) ?? '';
  const [ingress, egress] = [attributes.u32(TCA_INGRESS_BLOCK), attributes.u32(TCA_EGRESS_BLOCK)];
  const blocks = {
    ...(ingress !== undefined && { ingress }),
    ...(egress !== undefined && { egress }),
  };
  return { link, kind, handle, parent, blocks };
}

function defaultParent(kind: string): number {
  return kind === 'clsact' || kind === 'ingress' ? TC_H_INGRESS : TC_H_ROOT;
}

/** Returns a struct tcmsg: family u8, pad, ifindex s32, handle u32, parent u32, info u32. */
export function tcHeader({
  link,
  handle = 0,
  parent = 0,
  info = 0,
}: {
  link: number;
  handle?: number;
  parent?: number;
  info?: number;
}): Uint8Array {
  const bytes = new Uint8Array(headerSize);
  const view = new DataView(bytes.buffer);
  view.setInt32(4, link, true);
  view.setUint32(8, handle, true);
  view.setUint32(12, parent, true);
  view.setUint32(16, info, true);
  return bytes;
}

/** Reads a struct tcmsg and the attributes after it. Throws MalformedMessage. */
export function readTcMessage({ body }: Message, what: string) {
  if (body.length < headerSize) {
    throw new MalformedMessage(`read ${what}: ${body.length} bytes where ${headerSize} are needed`);
  }
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  return {
    link: view.getInt32(4, true),
    handle: view.getUint32(8, true),
    parent: view.getUint32(12, true),
    info: view.getUint32(16, true),
    attributes: Attributes.read(body.subarray(headerSize)),
  };
}
