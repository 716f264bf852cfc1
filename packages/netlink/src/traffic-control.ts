import { isNetlinkError, removed } from './errors.ts';
import { checkedIndex } from './inet.ts';
import {
  addQdisc,
  type FilterBlocks,
  listQdiscs,
  readTcMessage,
  removeQdisc,
  tcHeader,
} from './qdiscs.ts';
import type { NetlinkSocket } from './socket.ts';
import { MessageWriter, NLM_F_CREATE, NLM_F_REPLACE } from './wire.ts';

// linux/rtnetlink.h, linux/pkt_sched.h, linux/pkt_cls.h
const RTM_NEWTFILTER = 44;
const RTM_DELTFILTER = 45;
const RTM_GETTFILTER = 46;
const TCA_KIND = 1;
const TCA_OPTIONS = 2;
const TCA_BPF_FD = 6;
const TCA_BPF_NAME = 7;
const TCA_BPF_FLAGS = 8;
const TCA_BPF_FLAG_ACT_DIRECT = 1;
const TCA_BPF_ID = 11;
/** TCM_IFINDEX_MAGIC_BLOCK: the parent is the number of a block. */
const blockLink = -1;
const parents = { ingress: 0xfffffff2, egress: 0xfffffff3 } as const;
/** ETH_P_ALL in network byte order. */
const allProtocols = 0x0300;

/** A list of filters: that of a link's clsact qdisc, or a block that several links share. */
export type FilterList =
  | {
      /** ifindex of the link. */
      readonly link: number;
      readonly direction: 'ingress' | 'egress';
    }
  | {
      /** Number of the block. */
      readonly block: number;
    };

/** Identifies a filter. */
export type FilterPlace = FilterList & {
  /** Order of the filters, 1 to 65535, the lowest first. tc numbers its own from 49152 downwards. */
  readonly priority: number;
  /** Number of the filter at its priority, not 0. */
  readonly handle: number;
};

/**
 * Attaches a BPF program of type sched_cls (a descriptor) as a filter. A link's clsact qdisc is added
 * if it is missing; a block exists as long as a link uses it (`useBlocks`). The program of a filter at
 * the same place is replaced without a gap. The program's return value is the verdict (direct
 * action). `name` appears in listings. Throws NetlinkError.
 */
export function attachFilter(
  socket: NetlinkSocket,
  { program, name, ...place }: FilterPlace & { readonly program: number; readonly name: string },
): void {
  const what = `attach ${name} to ${listName(place)}`;
  const header = filterHeader(place, what);
  if ('link' in place) {
    try {
      addQdisc(socket, { link: place.link, kind: 'clsact' });
    } catch (error) {
      if (!isNetlinkError(error, 'EEXIST')) throw error;
    }
  }
  const filter = new MessageWriter(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_REPLACE)
    .header(header)
    .text(TCA_KIND, 'bpf')
    .nested(TCA_OPTIONS, (options) =>
      options
        .u32(TCA_BPF_FD, program)
        .text(TCA_BPF_NAME, name)
        .u32(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT),
    );
  socket.request(filter, what);
}

/**
 * Has a link use blocks of filters, in place of a clsact qdisc that it may have. The filters of a
 * block apply to all links that use it, and no link's own can be added there. A block is removed
 * with its last link. Throws NetlinkError.
 */
export function useBlocks(socket: NetlinkSocket, link: number, blocks: FilterBlocks): void {
  const qdisc = { link, kind: 'clsact', blocks };
  try {
    addQdisc(socket, qdisc);
  } catch (error) {
    if (!isNetlinkError(error, 'EEXIST')) throw error;
    if (linksOfBlocks(socket, blocks).has(link)) return;
    removeQdisc(socket, qdisc);
    addQdisc(socket, qdisc);
  }
}

/** Returns the indexes of the links that use exactly these blocks of filters. Throws NetlinkError. */
export function linksOfBlocks(socket: NetlinkSocket, blocks: FilterBlocks): Set<number> {
  return new Set(
    listQdiscs(socket)
      .filter(({ kind }) => kind === 'clsact')
      .filter(
        (qdisc) => qdisc.blocks.ingress === blocks.ingress && qdisc.blocks.egress === blocks.egress,
      )
      .map(({ link }) => link),
  );
}

/**
 * Returns the id of the BPF program of the filter at the place, 0 for a filter of another kind, or
 * undefined without a filter; also when the link or block is gone. Throws NetlinkError.
 */
export function filterProgram(socket: NetlinkSocket, place: FilterPlace): number | undefined {
  const what = `list filters of ${listName(place)}`;
  const writer = new MessageWriter(RTM_GETTFILTER).header(listHeader(place, what));
  try {
    for (const message of socket.dump(writer, what)) {
      const { handle, info, attributes } = readTcMessage(message, 'filter');
      if (handle !== place.handle || info >>> 16 !== place.priority) continue;
      return attributes.nested(TCA_OPTIONS)?.u32(TCA_BPF_ID) ?? 0;
    }
    return undefined;
  } catch (error) {
    // EINVAL: the link has no clsact qdisc.
    if (isNetlinkError(error, 'ENODEV', 'EINVAL')) return undefined;
    throw error;
  }
}

/**
 * Returns whether there is a filter at the place; false also when the link is gone. Throws
 * NetlinkError.
 */
export function hasFilter(socket: NetlinkSocket, place: FilterPlace): boolean {
  return filterProgram(socket, place) !== undefined;
}

/**
 * Removes the filter at the place. Returns false when there is none, or when the link is gone.
 * Throws NetlinkError.
 */
export function removeFilter(socket: NetlinkSocket, place: FilterPlace): boolean {
  const what = `remove filter from ${listName(place)}`;
  const filter = new MessageWriter(RTM_DELTFILTER)
    .header(filterHeader(place, what))
    .text(TCA_KIND, 'bpf');
  // EINVAL: the link has no clsact qdisc. EOPNOTSUPP: its filters are those of a block that links share.
  const codes = ['ENOENT', 'ENODEV', 'EINVAL', 'EOPNOTSUPP'] as const;
  return removed(() => socket.request(filter, what), ...codes);
}

function listName(list: FilterList): string {
  return 'link' in list ? `${list.direction} of link ${list.link}` : `block ${list.block}`;
}

function listHeader(list: FilterList, what: string, rest: { handle?: number; info?: number } = {}) {
  return 'link' in list
    ? tcHeader({ link: checkedIndex(list.link, what), parent: parents[list.direction], ...rest })
    : tcHeader({ link: blockLink, parent: list.block, ...rest });
}

function filterHeader(place: FilterPlace, what: string) {
  const info = ((place.priority << 16) | allProtocols) >>> 0;
  return listHeader(place, what, { handle: place.handle, info });
}
