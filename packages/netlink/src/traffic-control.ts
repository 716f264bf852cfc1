import { isNetlinkError, removed } from './errors.ts';
import { checkedIndex } from './inet.ts';
import { addQdisc, readTcMessage, tcHeader } from './qdiscs.ts';
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
const parents = { ingress: 0xfffffff2, egress: 0xfffffff3 } as const;
/** ETH_P_ALL in network byte order. */
const allProtocols = 0x0300;

/** Identifies a filter of a clsact qdisc. */
export interface FilterPlace {
  /** ifindex of the link. */
  readonly link: number;
  readonly direction: 'ingress' | 'egress';
  /** Order of the filters, 1 to 65535, the lowest first. tc numbers its own from 49152 downwards. */
  readonly priority: number;
  /** Number of the filter at its priority, not 0. */
  readonly handle: number;
}

/**
 * Attaches a BPF program of type sched_cls (a descriptor) to a link, as a filter of its clsact
 * qdisc, which is added if it is missing. The program of a filter at the same place is replaced
 * without a gap. The program's return value is the verdict (direct action). `name` appears in
 * listings. Throws NetlinkError.
 */
export function attachFilter(
  socket: NetlinkSocket,
  { program, name, ...place }: FilterPlace & { readonly program: number; readonly name: string },
): void {
  const what = `attach ${name} to ${place.direction} of link ${place.link}`;
  const header = filterHeader(place, what);
  try {
    addQdisc(socket, { link: place.link, kind: 'clsact' });
  } catch (error) {
    if (!isNetlinkError(error, 'EEXIST')) throw error;
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
 * Returns whether there is a filter at the place; false also when the link is gone. Throws
 * NetlinkError.
 */
export function hasFilter(socket: NetlinkSocket, place: FilterPlace): boolean {
  const what = `list filters of link ${place.link}`;
  const parent = parents[place.direction];
  const writer = new MessageWriter(RTM_GETTFILTER).header(
    tcHeader({ link: checkedIndex(place.link, what), parent }),
  );
  try {
    return socket.dump(writer, what).some((message) => {
      const { handle, info } = readTcMessage(message, 'filter');
      return handle === place.handle && info >>> 16 === place.priority;
    });
  } catch (error) {
    // EINVAL: the link has no clsact qdisc.
    if (isNetlinkError(error, 'ENODEV', 'EINVAL')) return false;
    throw error;
  }
}

/**
 * Removes the filter at the place. Returns false when there is none, or when the link is gone.
 * Throws NetlinkError.
 */
export function removeFilter(socket: NetlinkSocket, place: FilterPlace): boolean {
  const what = `remove filter from ${place.direction} of link ${place.link}`;
  const filter = new MessageWriter(RTM_DELTFILTER)
    .header(filterHeader(place, what))
    .text(TCA_KIND, 'bpf');
  // EINVAL: the link has no clsact qdisc. EOPNOTSUPP: its filters are those of a block that links share.
  const codes = ['ENOENT', 'ENODEV', 'EINVAL', 'EOPNOTSUPP'] as const;
  return removed(() => socket.request(filter, what), ...codes);
}

function filterHeader({ link, direction, priority, handle }: FilterPlace, what: string) {
  return tcHeader({
    link: checkedIndex(link, what),
    handle,
    parent: parents[direction],
    info: ((priority << 16) | allProtocols) >>> 0,
  });
}
