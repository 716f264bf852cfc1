import { errno } from '@heddle/sys';
import type { Helper, Machine } from '../machine.ts';
import { Packet } from '../packet.ts';

/** Returns the packet of the run. */
function packetOf(machine: Machine): Packet {
  if (machine.subject instanceof Packet) return machine.subject;
  return machine.refuse('there is no packet');
}

/** Offsets in struct __sk_buff. */
const [VLAN_PRESENT, VLAN_TCI] = [20, 24];

const low = (machine: Machine, register: number) => machine.registers[2 * register]! >>> 0;
const signed = (machine: Machine, register: number) => machine.registers[2 * register]!;

/** bpf_skb_load_bytes, bpf_xdp_load_bytes: copies from the packet to memory. */
const load: Helper = (machine) => {
  const { packet } = packetOf(machine);
  const [offset, length] = [low(machine, 2), low(machine, 4)];
  const to = machine.argumentBytes(3, length, true);
  if (length === 0 || offset + length > packet.length) {
    to.fill(0);
    return machine.answer(-errno.EFAULT);
  }
  to.set(packet.subarray(offset, offset + length));
  machine.answer(0);
};

const store: Helper = (machine) => {
  const { packet } = packetOf(machine);
  const [offset, length] = [low(machine, 2), low(machine, 4)];
  const from = machine.argumentBytes(3, length);
  if (length === 0 || offset + length > packet.length) return machine.answer(-errno.EFAULT);
  packet.set(from, offset);
  machine.answer(0);
};

const moved = (machine: Machine, fits: boolean) => machine.answer(fits ? 0 : -errno.EINVAL);

const resize: Helper = (machine) => {
  const fits = machine.registers[6] === 0 && machine.registers[7] === 0;
  moved(machine, fits && packetOf(machine).resize(low(machine, 2)));
};

/** bpf_skb_vlan_pop. The tag is in the context; the frame has none. */
const popVlan: Helper = (machine) => {
  const { context } = packetOf(machine);
  if (context.length < VLAN_TCI + 4) return machine.refuse('the context has no VLAN tag');
  context.fill(0, VLAN_PRESENT, VLAN_TCI + 4);
  machine.answer(0);
};

/** bpf_skb_change_type: PACKET_HOST (0) to PACKET_OTHERHOST (3) become one another. */
const changeType: Helper = (machine) => {
  const { context } = packetOf(machine);
  const view = new DataView(context.buffer, context.byteOffset);
  const type = low(machine, 2);
  if (type > 3 || view.getUint32(PACKET_TYPE, true) > 3) return machine.answer(-errno.EINVAL);
  view.setUint32(PACKET_TYPE, type, true);
  machine.answer(0);
};

/** bpf_skb_change_head: inserts zeros in front. */
const grow: Helper = (machine) => {
  const packet = packetOf(machine);
  const by = low(machine, 2);
  const fits = machine.registers[6] === 0 && machine.registers[7] === 0;
  if (!fits || !packet.adjustHead(-by)) return moved(machine, false);
  packet.packet.fill(0, 0, by);
  moved(machine, true);
};

/** bpf_skb_load_bytes_relative, relative to the link header (0), with which the packet begins here. */
const loadRelative: Helper = (machine) => {
  if (machine.registers[10] !== 0) return machine.refuse('only the link header', 'not-simulated');
  load(machine);
};

const PACKET_TYPE = 4; // in struct __sk_buff
const IPV4 = 0x0008; // ETH_P_* in network byte order, as in the context
const IPV6 = 0xdd86;
const PROTOCOL = 16; // in struct __sk_buff
const ETHERNET = 14;
const roomModes = { net: 0, mac: 1 } as const;
const roomFlags = {
  ...{ fixedGso: 1, encapIpv4: 2, encapIpv6: 4, encapGre: 8, encapUdp: 16 },
  ...{ noChecksumReset: 32, decapIpv4: 128, decapIpv6: 256 },
} as const;
const encapL3 = roomFlags.encapIpv4 | roomFlags.encapIpv6;
const decapL3 = roomFlags.decapIpv4 | roomFlags.decapIpv6;

/**
 * bpf_skb_adjust_room, behind the link header or (mode `net`) behind the IP header, without inner link
 * headers. No packet needs segmentation here.
 */
const adjustRoom: Helper = (machine) => {
  const packet = packetOf(machine);
  const [by, mode] = [signed(machine, 2), low(machine, 3)];
  const [flags, flagsHigh] = [low(machine, 4), machine.registers[9]!];
  const known = Object.values(roomFlags).reduce((all, flag) => all | flag, 0);
  const protocol = new DataView(packet.context.buffer, packet.context.byteOffset);
  const current = protocol.getUint16(PROTOCOL, true);
  const fail = (code: number) => machine.answer(-code);
  if ((flags & ~known) !== 0 || flagsHigh !== 0) return fail(errno.EINVAL);
  if (Math.abs(by) > 0xfff) return fail(errno.EFAULT);
  if (current !== IPV4 && current !== IPV6) return fail(errno.ENOTSUPP);
  if (mode !== roomModes.net && mode !== roomModes.mac) return fail(errno.ENOTSUPP);
  const header = current === IPV4 ? 20 : 40;
  const offset = ETHERNET + (mode === roomModes.net ? header : 0);
  if (flags & decapL3 && (by >= 0 || (flags & decapL3) === decapL3)) return fail(errno.EINVAL);
  const left = flags & roomFlags.decapIpv4 ? 20 : flags & roomFlags.decapIpv6 ? 40 : header;
  const length = packet.packet.length - ETHERNET;
  if (by < 0 && length + by < left) return fail(errno.ENOTSUPP);
  if (by >= 0 && flags & encapL3) {
    if ((flags & encapL3) === encapL3) return fail(errno.EINVAL);
    if (packet.isWrapped) return fail(errno.EALREADY);
    packet.isWrapped = true;
    protocol.setUint16(PROTOCOL, flags & roomFlags.encapIpv6 ? IPV6 : IPV4, true);
  } else if (by < 0 && flags & (encapL3 | roomFlags.encapGre | roomFlags.encapUdp)) {
    return fail(errno.EINVAL);
  } else if (flags & decapL3) {
    protocol.setUint16(PROTOCOL, flags & roomFlags.decapIpv6 ? IPV6 : IPV4, true);
  }
  packet.adjustRoom(offset, by);
  machine.answer(0);
};

/** The implementations by number of `enum bpf_func_id` (linux/bpf.h). */
export const packetHelpers: Readonly<Record<number, readonly [name: string, helper: Helper]>> = {
  9: ['skb_store_bytes', store],
  19: ['skb_vlan_pop', popVlan],
  26: ['skb_load_bytes', load],
  32: ['skb_change_type', changeType],
  38: ['skb_change_tail', resize],
  // All of a packet is linear here.
  39: ['skb_pull_data', (machine) => machine.answer(0)],
  // No interface here has summed the packet.
  40: ['csum_update', (machine) => machine.answer(-errno.ENOTSUPP)],
  43: ['skb_change_head', grow],
  44: [
    'xdp_adjust_head',
    (machine) => moved(machine, packetOf(machine).adjustHead(signed(machine, 2))),
  ],
  50: ['skb_adjust_room', adjustRoom],
  54: [
    'xdp_adjust_meta',
    (machine) => moved(machine, packetOf(machine).adjustMeta(signed(machine, 2))),
  ],
  65: [
    'xdp_adjust_tail',
    (machine) => moved(machine, packetOf(machine).adjustTail(signed(machine, 2))),
  ],
  68: ['skb_load_bytes_relative', loadRelative],
  188: ['xdp_get_buff_len', (machine) => machine.answer(packetOf(machine).packet.length)],
  189: ['xdp_load_bytes', load],
  190: ['xdp_store_bytes', store],
};
