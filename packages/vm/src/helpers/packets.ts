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

/** 32-bit addition with the carry brought around (csum_add). */
function add(a: number, b: number): number {
  const total = a + b;
  return total > 0xffffffff ? total - 0xffffffff : total;
}

/** Ones' complement sum of 32-bit words (csum_partial). */
function sum(bytes: Uint8Array, start: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let total = start;
  for (let at = 0; at < bytes.length; at += 4) total = add(total, view.getUint32(at, true));
  return total;
}

const none = new Uint8Array(0);

/**
 * bpf_csum_diff: the sum of what comes without that of what goes, from a seed on. Folded to 16
 * bits, as Linux does it on every architecture since 6.13 (csum_from32to16).
 */
const checksumDifference: Helper = (machine) => {
  const [fromSize, toSize] = [low(machine, 2), low(machine, 4)];
  if (fromSize % 4 !== 0 || toSize % 4 !== 0) return machine.answer(-errno.EINVAL);
  const from = fromSize > 0 ? machine.argumentBytes(1, fromSize) : none;
  const to = toSize > 0 ? machine.argumentBytes(3, toSize) : none;
  const seed = low(machine, 5);
  let result = seed;
  if (toSize > 0) {
    result = sum(to, seed);
    if (fromSize > 0) result = add(result, 0xffffffff - sum(from, 0));
  } else if (fromSize > 0) {
    result = 0xffffffff - sum(from, 0xffffffff - seed);
  }
  machine.answer(add(result, ((result >>> 16) | (result << 16)) >>> 0) >>> 16);
};

/** By number of `enum bpf_func_id` (linux/bpf.h). */
export const packetHelpers: Readonly<Record<number, readonly [name: string, helper: Helper]>> = {
  9: ['skb_store_bytes', store],
  26: ['skb_load_bytes', load],
  28: ['csum_diff', checksumDifference],
  // All of a packet is linear here.
  39: ['skb_pull_data', (machine) => machine.answer(0)],
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
  189: ['xdp_load_bytes', load],
  190: ['xdp_store_bytes', store],
};
