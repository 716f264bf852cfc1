import { programTypes, type TestRunOptions, type TestRunResult } from '@heddle/ebpf';
import { errno, SysError } from '@heddle/sys';
import type { Machine, Program } from './machine.ts';
import { Packet, skbLayout, xdpLayout } from './packet.ts';

const ETHERNET = 14;
const PACKET_HOST = 0;
const PACKET_BROADCAST = 1;
const PACKET_MULTICAST = 2;
const PACKET_OTHERHOST = 3;

/**
 * BPF_PROG_TEST_RUN for xdp, tc, socket filter and syscall programs, with the checks of
 * net/bpf/test_run.c. Throws SysError (ENOTSUPP: other types; EINVAL; ENOSPC) and VmFault.
 */
export function testRun(
  machine: Machine,
  program: Program,
  options: TestRunOptions,
): TestRunResult {
  switch (program.type) {
    case programTypes.xdp:
    case programTypes.sched_cls:
    case programTypes.sched_act:
    case programTypes.socket_filter:
      return runPacket(machine, program, options);
    case programTypes.syscall: {
      const context = (options.context ?? new Uint8Array(0)).slice();
      const region = machine.memory.add({ kind: 'kernel', what: 'the context' }, context);
      try {
        const start = machine.now();
        const returnValue = machine.run(program, region);
        return {
          returnValue,
          data: new Uint8Array(0),
          context,
          durationNs: Number(machine.now() - start),
        };
      } finally {
        machine.memory.remove(region);
      }
    }
    default:
      throw new SysError('bpf', errno.ENOTSUPP, 'test-run program');
  }
}

function runPacket(machine: Machine, program: Program, options: TestRunOptions): TestRunResult {
  const data = options.data ?? new Uint8Array(0);
  if (data.length < ETHERNET) throw new SysError('bpf', errno.EINVAL, 'test-run program');
  const isXdp = program.type === programTypes.xdp;
  const layout = isXdp ? xdpLayout : skbLayout;
  const context = new Uint8Array(layout.size);
  if (options.context) context.set(options.context.subarray(0, layout.size));
  if (!isXdp) describe(machine, context, data, program.type === programTypes.socket_filter);
  // The packet of a socket filter begins at its network header.
  const start = program.type === programTypes.socket_filter ? ETHERNET : 0;
  const packet = new Packet(machine.memory, layout, data.subarray(start), context);
  machine.subject = packet;
  try {
    const repeat = Math.max(1, options.repeat ?? 1);
    const began = machine.now();
    let returnValue = 0;
    for (let i = 0; i < repeat; i++) returnValue = machine.run(program, packet.region);
    const durationNs = Math.round(Number(machine.now() - began) / repeat);
    const room = options.dataRoom ?? data.length;
    const result = packet.packet.slice();
    if (result.length > room && room > 0)
      throw new SysError('bpf', errno.ENOSPC, 'test-run program');
    const out = options.contextRoom ?? options.context?.length ?? 0;
    return {
      returnValue,
      data: room > 0 ? result : new Uint8Array(0),
      context: context.slice(0, Math.min(out, layout.size)),
      durationNs,
    };
  } finally {
    machine.subject = undefined;
    packet.dispose();
  }
}

/** Fields of struct __sk_buff that the kernel derives from the packet. */
function describe(
  machine: Machine,
  context: Uint8Array,
  data: Uint8Array,
  isFilter: boolean,
): void {
  const view = new DataView(context.buffer);
  const isGroup = (data[0]! & 1) !== 0;
  const isBroadcast = data.subarray(0, 6).every((byte) => byte === 0xff);
  if (view.getUint32(40, true) === 0) view.setUint32(40, 1, true);
  const own = machine.linkAddress(view.getUint32(40, true));
  const isOwn = data.subarray(0, 6).every((byte, i) => byte === (own?.[i] ?? 0));
  const other = isOwn ? PACKET_HOST : PACKET_OTHERHOST;
  const type = isBroadcast ? PACKET_BROADCAST : isGroup ? PACKET_MULTICAST : other;
  view.setUint32(4, type, true);
  // In network order. A value below 1536 is a length: the packet is 802.2 (eth_type_trans).
  const etherType = (data[12]! << 8) | data[13]!;
  const protocol = etherType >= 0x600 ? etherType : 4;
  view.setUint32(16, ((protocol & 0xff) << 8) | (protocol >> 8), true);
  if (!isFilter && view.getUint32(36, true) === 0) view.setUint32(36, 1, true);
}
