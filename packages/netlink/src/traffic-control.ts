import type { NetlinkSocket } from './socket.ts';
import { MessageWriter, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from './wire.ts';

// linux/rtnetlink.h, linux/pkt_sched.h, linux/pkt_cls.h
const RTM_NEWQDISC = 36;
const RTM_NEWTFILTER = 44;
const RTM_DELTFILTER = 45;
const RTM_GETTFILTER = 46;
const headerSize = 20;
const TCA_KIND = 1;
const TCA_OPTIONS = 2;
const TCA_BPF_FD = 6;
const TCA_BPF_NAME = 7;
const TCA_BPF_FLAGS = 8;
const TCA_BPF_FLAG_ACT_DIRECT = 1;
const TC_H_CLSACT = 0xfffffff1;
const clsactHandle = 0xffff0000;
const parents = { ingress: 0xfffffff2, egress: 0xfffffff3 } as const;
/** ETH_P_ALL in network byte order. */
const allProtocols = 0x0300;

/** Where Heddle's filter stands: before those of others, which tc numbers from 49152 downwards. */
const priority = 1;
const handle = 0x6865;

/** A place for a filter on a device. */
export interface FilterPlace {
  /** ifindex. */
  readonly link: number;
  readonly direction: 'ingress' | 'egress';
}

/**
 * Puts a tc program (a descriptor) on a device as a filter of its clsact qdisc, which is made if it is
 * missing; a filter of Heddle's that is there gets the program without a gap. For kernels before 6.6,
 * which lack tcx. The program's answer decides (direct action). Throws NetlinkError.
 */
export function attachFilter(
  socket: NetlinkSocket,
  { link, direction, program, name }: FilterPlace & { program: number; name: string },
): void {
  const qdisc = new MessageWriter(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL)
    .header(header(link, clsactHandle, TC_H_CLSACT, 0))
    .text(TCA_KIND, 'clsact');
  ignoring(['EEXIST'], () => socket.request(qdisc, `add clsact to device ${link}`));
  const filter = new MessageWriter(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_REPLACE)
    .header(header(link, handle, parents[direction], (priority << 16) | allProtocols))
    .text(TCA_KIND, 'bpf')
    .nested(TCA_OPTIONS, (options) =>
      options
        .u32(TCA_BPF_FD, program)
        .text(TCA_BPF_NAME, name)
        .u32(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT),
    );
  socket.request(filter, `attach ${name} to ${direction} of device ${link}`);
}

/** Whether Heddle's filter is there. Throws NetlinkError. */
export function hasFilter(socket: NetlinkSocket, { link, direction }: FilterPlace): boolean {
  const writer = new MessageWriter(RTM_GETTFILTER).header(header(link, 0, parents[direction], 0));
  let found = false;
  ignoring(['ENODEV', 'EINVAL'], () => {
    for (const { body } of socket.dump(writer, `list filters of device ${link}`)) {
      const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
      if (body.length >= headerSize && view.getUint32(8, true) === handle) found = true;
    }
  });
  return found;
}

/** Takes Heddle's filter away; a missing one, or a device that is gone, is fine. Throws NetlinkError. */
export function removeFilter(socket: NetlinkSocket, { link, direction }: FilterPlace): void {
  const filter = new MessageWriter(RTM_DELTFILTER)
    .header(header(link, handle, parents[direction], (priority << 16) | allProtocols))
    .text(TCA_KIND, 'bpf');
  const what = `remove filter from ${direction} of device ${link}`;
  // EINVAL: the device has no clsact qdisc.
  ignoring(['ENOENT', 'ENODEV', 'EINVAL'], () => socket.request(filter, what));
}

/** struct tcmsg. */
function header(link: number, handle: number, parent: number, info: number): Uint8Array {
  const bytes = new Uint8Array(headerSize);
  const view = new DataView(bytes.buffer);
  view.setInt32(4, link, true);
  view.setUint32(8, handle, true);
  view.setUint32(12, parent, true);
  view.setUint32(16, info, true);
  return bytes;
}

function ignoring(codes: readonly string[], work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!codes.includes((error as { code?: string }).code ?? '')) throw error;
  }
}
