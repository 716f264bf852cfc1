import { LoadError } from './fault.ts';

/** Bytes of an instruction slot. */
export const SLOT = 8;
/** The words of a decoded instruction: operation and registers, offset or target, immediate (64 bits). */
export const STRIDE = 4;

/** The number of the tail call helper. The machine implements it, because it changes the running program. */
export const TAIL_CALL = 12;

/**
 * Operations of the machine. Most have the opcode of RFC 9669. Those that differ in other fields than the
 * opcode have numbers from 0x100 on:
 *
 * | number | meaning |
 * |---|---|
 * | 0x100 + opcode | signed division and modulo |
 * | 0x1a0 to 0x1a2 | 64-bit move with sign extension from 8, 16, 32 bits |
 * | 0x1a4, 0x1a5 | 32-bit move with sign extension from 8, 16 bits |
 * | 0x1d0, 0x1d1, 0x1d2 | to little endian, 16, 32, 64 bits |
 * | 0x1d4, 0x1d5, 0x1d6 | swap the bytes of 16, 32, 64 bits |
 * | 0x85, 0x185, 0x187 | call of a helper, of a subprogram, of another program (tail call) |
 */
const SIGNED = 0x100;
const CALL_HELPER = 0x85;
const CALL_LOCAL = 0x185;
const CALL_TAIL = 0x187;
/** The operation of the second slot of a wide instruction. It can't be run. */
const NO_OPERATION = 0;

/** An instruction of an object. */
export interface Instruction {
  readonly opcode: number;
  readonly to: number;
  readonly from: number;
  readonly offset: number;
  readonly immediate: number;
}

/** Resolves references while a program is decoded. Each function throws LoadError for an unknown one. */
export interface Resolver {
  /** Returns the index of a helper (by number) or kernel function (by BTF id) among those that the program calls. */
  readonly helper: (id: number, at: number) => number;
  readonly kernelFunction: (id: number, at: number) => number;
  /** Returns the address for the BPF_PSEUDO_* value and the immediates of a wide instruction. */
  readonly address: (mark: number, low: number, high: number, at: number) => [number, number];
}

/** Reads the instruction at a slot. */
export function readInstruction(code: DataView, at: number): Instruction {
  const registers = code.getUint8(at * SLOT + 1);
  return {
    opcode: code.getUint8(at * SLOT),
    to: registers & 0xf,
    from: registers >> 4,
    offset: code.getInt16(at * SLOT + 2, true),
    immediate: code.getInt32(at * SLOT + 4, true),
  };
}

/**
 * Decodes a program for the machine: four words for each slot. Checks the form of each instruction (RFC
 * 9669), that the targets of jumps and calls are instructions, and that the last one ends the program.
 * Throws LoadError.
 */
export function decode(bytes: Uint8Array, resolver: Resolver): Int32Array {
  const count = bytes.length / SLOT;
  if (count === 0 || !Number.isInteger(count)) {
    throw new LoadError(`${bytes.length} bytes are not a whole number of instructions`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const code = new Int32Array(count * STRIDE);
  const targets: [from: number, to: number][] = [];
  let last: Instruction | undefined;
  for (let at = 0; at < count; at++) {
    const instruction = readInstruction(view, at);
    last = instruction;
    const { opcode, to, from, offset, immediate } = instruction;
    if (to > 10 || (from > 10 && opcode !== 0x18))
      refuse(at, `there is no register r${Math.max(to, from)}`);
    if (opcode === 0x18) {
      if (at + 1 === count) refuse(at, 'the second half of a 64-bit load is missing');
      const second = readInstruction(view, at + 1);
      if (
        second.opcode !== 0 ||
        second.to !== 0 ||
        second.from !== 0 ||
        second.offset !== 0 ||
        offset !== 0
      ) {
        refuse(at, 'reserved fields of a 64-bit load are used');
      }
      const [low, high] = resolver.address(from, immediate, second.immediate, at);
      put(code, at, 0x18, to, 0, 0, low, high);
      put(code, at + 1, NO_OPERATION, 0, 0, 0, 0, 0);
      at++;
      continue;
    }
    const jump = jumpTarget(instruction, at);
    if (jump !== undefined) targets.push([at, jump]);
    const operation = operationOf(instruction, at);
    const writesFrame = to === 10 && changesRegister(operation);
    if (writesFrame) refuse(at, 'r10 (the frame pointer) is read-only');
    let value = immediate;
    if (operation === CALL_HELPER) {
      value = from === 2 ? resolver.kernelFunction(immediate, at) : resolver.helper(immediate, at);
    }
    const second = jump === undefined ? offset : jump * STRIDE;
    put(code, at, operation, to, from, second, value, value >> 31);
  }
  if (last!.opcode !== 0x95 && last!.opcode !== 0x05 && last!.opcode !== 0x06) {
    refuse(count - 1, 'the program runs over its end');
  }
  for (const [from, to] of targets) {
    if (to < 0 || to >= count) refuse(from, `the jump target ${to} is outside the program`);
    if ((code[to * STRIDE]! & 0xfff) === NO_OPERATION)
      refuse(from, `the jump target ${to} is inside an instruction`);
  }
  return code;
}

function refuse(at: number, why: string): never {
  throw new LoadError(`instruction ${at}: ${why}`);
}

/** Register numbers are doubled, because each register has two words. */
function put(
  code: Int32Array,
  at: number,
  operation: number,
  to: number,
  from: number,
  second: number,
  low: number,
  high: number,
) {
  code[at * STRIDE] = operation | (to << 13) | (from << 21);
  code[at * STRIDE + 1] = second;
  code[at * STRIDE + 2] = low;
  code[at * STRIDE + 3] = high;
}

/** Returns the target of a jump or of a call of a subprogram, in slots. */
function jumpTarget(
  { opcode, from, offset, immediate }: Instruction,
  at: number,
): number | undefined {
  const group = opcode & 7;
  if (group !== 5 && group !== 6) return undefined;
  switch (opcode) {
    case 0x85:
      return from === 1 ? at + 1 + immediate : undefined;
    case 0x95:
      return undefined;
    case 0x06:
      return at + 1 + immediate;
    default:
      return at + 1 + offset;
  }
}

function operationOf(instruction: Instruction, at: number): number {
  const { opcode, offset, immediate, from, to } = instruction;
  switch (opcode & 7) {
    case 4:
    case 7:
      return arithmetic(instruction, at);
    case 5:
    case 6:
      return jump(instruction, at);
    case 0: // LD: wide loads and the legacy packet access
      if (!legacy.has(opcode)) break;
      if (offset !== 0 || to !== 0 || (opcode < 0x40 && from !== 0)) reserved(at);
      return opcode;
    case 1:
      if (!loads.has(opcode)) break;
      if (immediate !== 0) reserved(at);
      return opcode;
    case 2:
      if (!stores.has(opcode)) break;
      if (from !== 0) reserved(at);
      return opcode;
    case 3:
      if (plainStores.has(opcode)) {
        if (immediate !== 0) reserved(at);
        return opcode;
      }
      return atomic(instruction, at);
  }
  return refuse(at, `there is no operation 0x${opcode.toString(16)}`);
}

const legacy = new Set([0x20, 0x28, 0x30, 0x40, 0x48, 0x50]);
const loads = new Set([0x61, 0x69, 0x71, 0x79, 0x81, 0x89, 0x91]);
const stores = new Set([0x62, 0x6a, 0x72, 0x7a]);
const plainStores = new Set([0x63, 0x6b, 0x73, 0x7b]);

function reserved(at: number): never {
  refuse(at, 'reserved fields are used');
}

function arithmetic({ opcode, from, offset, immediate }: Instruction, at: number): number {
  const wide = (opcode & 7) === 7;
  const register = (opcode & 8) !== 0;
  const kind = opcode >> 4;
  if (kind === 0xd) {
    if (offset !== 0 || from !== 0 || (wide && register)) reserved(at);
    const size = [16, 32, 64].indexOf(immediate);
    if (size < 0) refuse(at, `bytes of ${immediate} bits can't be swapped`);
    return (wide || register ? 0x1d4 : 0x1d0) + size;
  }
  if (kind > 0xd) return refuse(at, `there is no operation 0x${opcode.toString(16)}`);
  if (kind === 8) {
    if (register || offset !== 0 || from !== 0) reserved(at);
    return opcode;
  }
  if (register ? immediate !== 0 : from !== 0) reserved(at);
  if (kind === 0xb && register && offset !== 0) {
    const size = (wide ? [8, 16, 32] : [8, 16]).indexOf(offset);
    if (size < 0) reserved(at);
    return (wide ? 0x1a0 : 0x1a4) + size;
  }
  if ((kind === 3 || kind === 9) && offset === 1) return SIGNED | opcode;
  if (offset !== 0) reserved(at);
  const divides = (kind === 3 || kind === 9) && !register;
  if (divides && immediate === 0) refuse(at, 'division by zero');
  const shifts = (kind === 6 || kind === 7 || kind === 0xc) && !register;
  if (shifts && (immediate < 0 || immediate >= (wide ? 64 : 32))) {
    refuse(at, `a shift by ${immediate}`);
  }
  return opcode;
}

function jump({ opcode, to, from, offset, immediate }: Instruction, at: number): number {
  const short = (opcode & 7) === 6;
  switch (opcode) {
    case 0x05:
      if (to !== 0 || from !== 0 || immediate !== 0) reserved(at);
      return 0x05;
    case 0x06:
      if (to !== 0 || from !== 0 || offset !== 0) reserved(at);
      return 0x05;
    case 0x85:
      if (to !== 0 || from > 2 || offset !== 0) reserved(at);
      if (from === 1) return CALL_LOCAL;
      return from === 0 && immediate === TAIL_CALL ? CALL_TAIL : CALL_HELPER;
    case 0x95:
      if (to !== 0 || from !== 0 || offset !== 0 || immediate !== 0) reserved(at);
      return 0x95;
  }
  const kind = opcode >> 4;
  if (kind === 0 || kind === 8 || kind === 9 || kind > 0xd) {
    refuse(at, `there is no operation 0x${opcode.toString(16)}${short ? ' (32-bit jump)' : ''}`);
  }
  if ((opcode & 8) !== 0 ? immediate !== 0 : from !== 0) reserved(at);
  return opcode;
}

function atomic({ opcode, immediate }: Instruction, at: number): number {
  const size = [0xc3, 0xcb, 0xd3, 0xdb].indexOf(opcode);
  if (size < 0) return refuse(at, `there is no operation 0x${opcode.toString(16)}`);
  if (size === 1 || size === 2) return refuse(at, 'atomic operations are on 4 or 8 bytes');
  if (!atomics.has(immediate))
    return refuse(at, `there is no atomic operation 0x${immediate.toString(16)}`);
  return opcode;
}

/** add, or, and, xor, each also with fetch; exchange, compare and exchange. */
const atomics = new Set([0, 0x40, 0x50, 0xa0, 1, 0x41, 0x51, 0xa1, 0xe1, 0xf1]);

function changesRegister(operation: number): boolean {
  if (operation >= 0x100) return operation !== CALL_LOCAL && operation !== CALL_TAIL;
  const group = operation & 7;
  return group === 4 || group === 7 || group === 1;
}
