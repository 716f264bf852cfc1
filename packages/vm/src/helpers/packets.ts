import { errno } from '@heddle/sys';
import type { Machine } from '../machine.ts';
import { Packet } from '../packet.ts';
import type { Helper } from '../program.ts';

/** The packet that the run is about. */
function packetOf(machine: Machine): Packet {
  if (machine.subject instanceof Packet) return machine.subject;
  return machine.refuse('there is no packet');
}

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

/** bpf_skb_change_head: room in front, all zero. */
const grow: Helper = (machine) => {
  const packet = packetOf(machine);
  const by = low(machine, 2);
  const fits = machine.registers[6] === 0 && machine.registers[7] === 0;
  if (!fits || !packet.adjustHead(-by)) return moved(machine, false);
  packet.packet.fill(0, 0, by);
  moved(machine, true);
};

/** bpf_skb_load_bytes_relative, from the link header (0), which the packet begins with here. */
const loadRelative: Helper = (machine) => {
  if (machine.registers[10] !== 0) return machine.refuse('only the link header', 'not-simulated');
  load(machine);
};

/** By number of `enum bpf_func_id` (linux/bpf.h). */
export const packetHelpers: Readonly<Record<number, readonly [name: string, helper: Helper]>> = {
  9: ['skb_store_bytes', store],
  26: ['skb_load_bytes', load],
  38: ['skb_change_tail', resize],
  // All of a packet is linear here.
  39: ['skb_pull_data', (machine) => machine.answer(0)],
  43: ['skb_change_head', grow],
  44: [
    'xdp_adjust_head',
    (machine) => moved(machine, packetOf(machine).adjustHead(signed(machine, 2))),
  ],
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
