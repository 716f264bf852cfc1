import { errno } from '@heddle/sys';
import type { Helper, Machine } from '../machine.ts';
import { Packet } from '../packet.ts';

// Ones' complement sums by the kernel's algorithm (include/net/checksum.h), so that the two representations
// of zero are the same, too. Words are in the host's order, little endian.

/** 32-bit addition with end-around carry (csum_add). */
export function add(a: number, b: number): number {
  const total = a + b;
  return total > 0xffffffff ? total - 0xffffffff : total;
}

const not32 = (value: number) => 0xffffffff - value;
const not16 = (value: number) => 0xffff - value;

/** 16-bit addition with end-around carry (csum16_add). */
function add16(a: number, b: number): number {
  const total = a + b;
  return total > 0xffff ? total - 0xffff : total;
}

/** Folds to 16 bits and complements (csum_fold). */
function fold(value: number): number {
  const once = (value & 0xffff) + (value >>> 16);
  return not16(((once & 0xffff) + (once >>> 16)) & 0xffff);
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
 * bpf_csum_diff: the seed plus the sum of the new bytes minus that of the old ones. Folded to 16 bits, as
 * on every architecture since Linux 6.13 (csum_from32to16).
 */
const difference: Helper = (machine) => {
  const low = (register: number) => machine.registers[2 * register]! >>> 0;
  const [fromSize, toSize] = [low(2), low(4)];
  if (fromSize % 4 !== 0 || toSize % 4 !== 0) return machine.answer(-errno.EINVAL);
  const from = fromSize > 0 ? machine.argumentBytes(1, fromSize) : none;
  const to = toSize > 0 ? machine.argumentBytes(3, toSize) : none;
  const seed = low(5);
  let result = seed;
  if (toSize > 0) {
    result = sum(to, seed);
    if (fromSize > 0) result = add(result, not32(sum(from, 0)));
  } else if (fromSize > 0) {
    result = not32(sum(from, not32(seed)));
  }
  machine.answer(add(result, ((result >>> 16) | (result << 16)) >>> 0) >>> 16);
};

const SIZE = 0xf;
const PSEUDO_HEADER = 1 << 4;
const MARK_MANGLED_ZERO = 1 << 5;
const MARK_ENFORCE = 1 << 6;
const IPV6 = 1 << 7;

/** Returns a checksum after `from` was replaced by `to`. With `size` 0, `to` is the difference. */
function replaced(checksum: number, from: number, to: number, size: number): number | undefined {
  switch (size) {
    case 0:
      return from === 0 ? fold(add(to, not32(checksum))) : undefined;
    case 2:
      return not16(add16(add16(not16(checksum), not16(from & 0xffff)), to & 0xffff));
    case 4:
      return fold(add(add(not32(checksum), not32(from)), to));
    default:
      return undefined;
  }
}

/** Returns 0, or -errno for impossible flags, offsets or changes. */
function replace(
  machine: Machine,
  allowed: number,
  change: (checksum: number, flags: number) => number | undefined,
): number {
  const R = machine.registers;
  const { subject } = machine;
  if (!(subject instanceof Packet)) return machine.refuse('there is no packet');
  const [offset, flags] = [R[4]! >>> 0, R[10]! >>> 0];
  if (flags & ~allowed || R[11] !== 0) return -errno.EINVAL;
  const { packet } = subject;
  if (offset > 0xffff || offset & 1 || offset + 2 > packet.length) return -errno.EFAULT;
  const result = change(packet[offset]! | (packet[offset + 1]! << 8), flags);
  if (result === undefined) return -errno.EINVAL;
  packet[offset] = result;
  packet[offset + 1] = result >>> 8;
  return 0;
}

const replaceNetwork: Helper = (machine) => {
  const [from, to] = [machine.registers[6]! >>> 0, machine.registers[8]! >>> 0];
  machine.answer(
    replace(machine, SIZE, (checksum, flags) => replaced(checksum, from, to, flags & SIZE)),
  );
};

const replaceTransport: Helper = (machine) => {
  const [from, to] = [machine.registers[6]! >>> 0, machine.registers[8]! >>> 0];
  const allowed = SIZE | PSEUDO_HEADER | MARK_MANGLED_ZERO | MARK_ENFORCE | IPV6;
  const result = replace(machine, allowed, (checksum, flags) => {
    const mangles = (flags & MARK_MANGLED_ZERO) !== 0;
    // A UDP datagram without a checksum gets none, unless the flags demand one.
    if (mangles && !(flags & MARK_ENFORCE) && checksum === 0) return 0;
    // inet_proto_csum_replace2 is the 4-byte form with 16-bit values.
    const size = (flags & SIZE) === 2 ? 4 : flags & SIZE;
    const narrow = (flags & SIZE) === 2 ? 0xffff : 0xffffffff;
    const after = replaced(checksum, (from & narrow) >>> 0, (to & narrow) >>> 0, size);
    return mangles && after === 0 ? 0xffff : after;
  });
  machine.answer(result);
};

/** The implementations by number of `enum bpf_func_id` (linux/bpf.h). */
export const checksumHelpers: Readonly<Record<number, readonly [name: string, helper: Helper]>> = {
  10: ['l3_csum_replace', replaceNetwork],
  11: ['l4_csum_replace', replaceTransport],
  28: ['csum_diff', difference],
};
