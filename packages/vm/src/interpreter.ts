import {
  atomic32,
  atomic64,
  divide,
  divide32,
  divideSigned,
  divideSigned32,
  isBelow,
  isLess,
  multiply,
  remainder,
  remainder32,
  remainderSigned,
  remainderSigned32,
  shiftLeft,
  shiftRight,
  shiftRightSigned,
  swap16,
  swap32,
} from './arithmetic.ts';
import type { Machine, Program } from './machine.ts';

/**
 * Runs a program from a decoded instruction until the function of that instruction returns.
 *
 * Registers are pairs of 32-bit words, the low one first: r0 is R[0] and R[1]. `a`, `ah` have the value
 * of the target and `b`, `bh` that of the operand, register or immediate. Case labels are numbers,
 * because V8 makes a jump table only of those. They are the opcodes of RFC 9669 and, from 0x100 on,
 * those of instructions.ts.
 */
export function interpret(machine: Machine, entered: Program, entry: number): void {
  const R = machine.registers;
  const { views, writable } = machine.memory;
  const base = machine.depth;
  let program = entered;
  let code = program.code;
  let pc = entry;
  let left = machine.left;
  for (;;) {
    if (--left < 0) left = machine.refill(program, pc);
    const w = code[pc]!;
    const d = (w >>> 12) & 0xff;
    const s = w >>> 20;
    const b = w & 8 ? R[s]! : code[pc + 2]!;
    const bh = w & 8 ? R[s + 1]! : code[pc + 3]!;
    switch (w & 0xfff) {
      // 64-bit arithmetic
      case 0x07:
      case 0x0f: {
        const a = R[d]!;
        const sum = (a + b) | 0;
        R[d] = sum;
        R[d + 1] = R[d + 1]! + bh + (sum >>> 0 < a >>> 0 ? 1 : 0);
        break;
      }
      case 0x17:
      case 0x1f: {
        const a = R[d]!;
        R[d] = a - b;
        R[d + 1] = R[d + 1]! - bh - (a >>> 0 < b >>> 0 ? 1 : 0);
        break;
      }
      case 0x27:
      case 0x2f:
        multiply(R, d, b, bh);
        break;
      case 0x37:
      case 0x3f:
        divide(R, d, b, bh);
        break;
      case 0x137:
      case 0x13f:
        divideSigned(R, d, b, bh);
        break;
      case 0x47:
      case 0x4f:
        R[d] = R[d]! | b;
        R[d + 1] = R[d + 1]! | bh;
        break;
      case 0x57:
      case 0x5f:
        R[d] = R[d]! & b;
        R[d + 1] = R[d + 1]! & bh;
        break;
      case 0x67:
      case 0x6f:
        shiftLeft(R, d, b);
        break;
      case 0x77:
      case 0x7f:
        shiftRight(R, d, b);
        break;
      case 0x87:
        R[d + 1] = -R[d + 1]! - (R[d] === 0 ? 0 : 1);
        R[d] = -R[d]!;
        break;
      case 0x97:
      case 0x9f:
        remainder(R, d, b, bh);
        break;
      case 0x197:
      case 0x19f:
        remainderSigned(R, d, b, bh);
        break;
      case 0xa7:
      case 0xaf:
        R[d] = R[d]! ^ b;
        R[d + 1] = R[d + 1]! ^ bh;
        break;
      case 0xb7:
      case 0xbf:
        R[d] = b;
        R[d + 1] = bh;
        break;
      case 0xc7:
      case 0xcf:
        shiftRightSigned(R, d, b);
        break;
      case 0x18:
        R[d] = code[pc + 2]!;
        R[d + 1] = code[pc + 3]!;
        pc += 8;
        continue;

      // 32-bit arithmetic clears the upper half
      case 0x04:
      case 0x0c:
        R[d] = R[d]! + b;
        R[d + 1] = 0;
        break;
      case 0x14:
      case 0x1c:
        R[d] = R[d]! - b;
        R[d + 1] = 0;
        break;
      case 0x24:
      case 0x2c:
        R[d] = Math.imul(R[d]!, b);
        R[d + 1] = 0;
        break;
      case 0x34:
      case 0x3c:
        R[d] = divide32(R[d]!, b);
        R[d + 1] = 0;
        break;
      case 0x134:
      case 0x13c:
        R[d] = divideSigned32(R[d]!, b);
        R[d + 1] = 0;
        break;
      case 0x44:
      case 0x4c:
        R[d] = R[d]! | b;
        R[d + 1] = 0;
        break;
      case 0x54:
      case 0x5c:
        R[d] = R[d]! & b;
        R[d + 1] = 0;
        break;
      case 0x64:
      case 0x6c:
        R[d] = R[d]! << b;
        R[d + 1] = 0;
        break;
      case 0x74:
      case 0x7c:
        R[d] = R[d]! >>> b;
        R[d + 1] = 0;
        break;
      case 0x84:
        R[d] = -R[d]!;
        R[d + 1] = 0;
        break;
      case 0x94:
      case 0x9c:
        R[d] = remainder32(R[d]!, b);
        R[d + 1] = 0;
        break;
      case 0x194:
      case 0x19c:
        R[d] = remainderSigned32(R[d]!, b);
        R[d + 1] = 0;
        break;
      case 0xa4:
      case 0xac:
        R[d] = R[d]! ^ b;
        R[d + 1] = 0;
        break;
      case 0xb4:
      case 0xbc:
        R[d] = b;
        R[d + 1] = 0;
        break;
      case 0xc4:
      case 0xcc:
        R[d] = R[d]! >> b;
        R[d + 1] = 0;
        break;

      // Moves with sign extension, and byte order
      case 0x1a0:
        R[d] = (R[s]! << 24) >> 24;
        R[d + 1] = R[d]! >> 31;
        break;
      case 0x1a1:
        R[d] = (R[s]! << 16) >> 16;
        R[d + 1] = R[d]! >> 31;
        break;
      case 0x1a2:
        R[d] = R[s]!;
        R[d + 1] = R[d]! >> 31;
        break;
      case 0x1a4:
        R[d] = (R[s]! << 24) >> 24;
        R[d + 1] = 0;
        break;
      case 0x1a5:
        R[d] = (R[s]! << 16) >> 16;
        R[d + 1] = 0;
        break;
      case 0x1d0:
        R[d] = R[d]! & 0xffff;
        R[d + 1] = 0;
        break;
      case 0x1d1:
        R[d + 1] = 0;
        break;
      case 0x1d2:
        break;
      case 0x1d4:
        R[d] = swap16(R[d]!);
        R[d + 1] = 0;
        break;
      case 0x1d5:
        R[d] = swap32(R[d]!);
        R[d + 1] = 0;
        break;
      case 0x1d6: {
        const low = R[d]!;
        R[d] = swap32(R[d + 1]!);
        R[d + 1] = swap32(low);
        break;
      }

      // Loads
      case 0x61: {
        const view = views[R[s + 1]!];
        const at = (R[s]! >>> 0) + code[pc + 1]!;
        if (view !== undefined && at >= 0 && at + 4 <= view.byteLength) {
          R[d] = view.getInt32(at, true);
          R[d + 1] = 0;
        } else machine.load(program, pc, s, 4, d);
        break;
      }
      case 0x69: {
        const view = views[R[s + 1]!];
        const at = (R[s]! >>> 0) + code[pc + 1]!;
        if (view !== undefined && at >= 0 && at + 2 <= view.byteLength) {
          R[d] = view.getUint16(at, true);
          R[d + 1] = 0;
        } else machine.load(program, pc, s, 2, d);
        break;
      }
      case 0x71: {
        const view = views[R[s + 1]!];
        const at = (R[s]! >>> 0) + code[pc + 1]!;
        if (view !== undefined && at >= 0 && at < view.byteLength) {
          R[d] = view.getUint8(at);
          R[d + 1] = 0;
        } else machine.load(program, pc, s, 1, d);
        break;
      }
      case 0x79: {
        const view = views[R[s + 1]!];
        const at = (R[s]! >>> 0) + code[pc + 1]!;
        if (view !== undefined && at >= 0 && at + 8 <= view.byteLength) {
          const high = view.getInt32(at + 4, true);
          R[d] = view.getInt32(at, true);
          R[d + 1] = high;
        } else machine.load(program, pc, s, 8, d);
        break;
      }
      case 0x81:
        machine.load(program, pc, s, 4, d);
        R[d + 1] = R[d]! >> 31;
        break;
      case 0x89:
        machine.load(program, pc, s, 2, d);
        R[d] = (R[d]! << 16) >> 16;
        R[d + 1] = R[d]! >> 31;
        break;
      case 0x91:
        machine.load(program, pc, s, 1, d);
        R[d] = (R[d]! << 24) >> 24;
        R[d + 1] = R[d]! >> 31;
        break;
      case 0x20:
      case 0x28:
      case 0x30:
      case 0x40:
      case 0x48:
      case 0x50:
        if (machine.loadPacket(program, pc, w & 0xfff, s)) break;
        // A packet that is too short ends the function with 0.
        R[0] = 0;
        R[1] = 0;
        if (machine.depth === base) {
          machine.left = left;
          return;
        }
        program = machine.leave();
        code = program.code;
        pc = machine.resumeAt;
        continue;

      // Stores of an immediate (ST) and of a register (STX)
      case 0x62:
      case 0x63: {
        const view = writable[R[d + 1]!];
        const at = (R[d]! >>> 0) + code[pc + 1]!;
        const value = w & 1 ? R[s]! : code[pc + 2]!;
        if (view !== undefined && at >= 0 && at + 4 <= view.byteLength) {
          view.setInt32(at, value, true);
        } else machine.store(program, pc, d, 4, value, 0);
        break;
      }
      case 0x6a:
      case 0x6b: {
        const view = writable[R[d + 1]!];
        const at = (R[d]! >>> 0) + code[pc + 1]!;
        const value = w & 1 ? R[s]! : code[pc + 2]!;
        if (view !== undefined && at >= 0 && at + 2 <= view.byteLength) {
          view.setInt16(at, value, true);
        } else machine.store(program, pc, d, 2, value, 0);
        break;
      }
      case 0x72:
      case 0x73: {
        const view = writable[R[d + 1]!];
        const at = (R[d]! >>> 0) + code[pc + 1]!;
        const value = w & 1 ? R[s]! : code[pc + 2]!;
        if (view !== undefined && at >= 0 && at < view.byteLength) {
          view.setInt8(at, value);
        } else machine.store(program, pc, d, 1, value, 0);
        break;
      }
      case 0x7a:
      case 0x7b: {
        const view = writable[R[d + 1]!];
        const at = (R[d]! >>> 0) + code[pc + 1]!;
        const value = w & 1 ? R[s]! : code[pc + 2]!;
        const high = w & 1 ? R[s + 1]! : code[pc + 3]!;
        if (view !== undefined && at >= 0 && at + 8 <= view.byteLength) {
          view.setInt32(at, value, true);
          view.setInt32(at + 4, high, true);
        } else machine.store(program, pc, d, 8, value, high);
        break;
      }
      case 0xc3: {
        const at = machine.locate(program, pc, d, 4);
        atomic32(writable[R[d + 1]!]!, at, code[pc + 2]!, R, s);
        break;
      }
      case 0xdb: {
        const at = machine.locate(program, pc, d, 8);
        atomic64(writable[R[d + 1]!]!, at, code[pc + 2]!, R, s);
        break;
      }

      // 64-bit jumps: those taken leave the switch with `continue`
      case 0x05:
        pc = code[pc + 1]!;
        continue;
      case 0x15:
      case 0x1d:
        if (R[d] !== b || R[d + 1] !== bh) break;
        pc = code[pc + 1]!;
        continue;
      case 0x25:
      case 0x2d:
        if (!isBelow(b, bh, R[d]!, R[d + 1]!)) break;
        pc = code[pc + 1]!;
        continue;
      case 0x35:
      case 0x3d:
        if (isBelow(R[d]!, R[d + 1]!, b, bh)) break;
        pc = code[pc + 1]!;
        continue;
      case 0x45:
      case 0x4d:
        if (((R[d]! & b) | (R[d + 1]! & bh)) === 0) break;
        pc = code[pc + 1]!;
        continue;
      case 0x55:
      case 0x5d:
        if (R[d] === b && R[d + 1] === bh) break;
        pc = code[pc + 1]!;
        continue;
      case 0x65:
      case 0x6d:
        if (!isLess(b, bh, R[d]!, R[d + 1]!)) break;
        pc = code[pc + 1]!;
        continue;
      case 0x75:
      case 0x7d:
        if (isLess(R[d]!, R[d + 1]!, b, bh)) break;
        pc = code[pc + 1]!;
        continue;
      case 0xa5:
      case 0xad:
        if (!isBelow(R[d]!, R[d + 1]!, b, bh)) break;
        pc = code[pc + 1]!;
        continue;
      case 0xb5:
      case 0xbd:
        if (isBelow(b, bh, R[d]!, R[d + 1]!)) break;
        pc = code[pc + 1]!;
        continue;
      case 0xc5:
      case 0xcd:
        if (!isLess(R[d]!, R[d + 1]!, b, bh)) break;
        pc = code[pc + 1]!;
        continue;
      case 0xd5:
      case 0xdd:
        if (isLess(b, bh, R[d]!, R[d + 1]!)) break;
        pc = code[pc + 1]!;
        continue;

      // 32-bit jumps
      case 0x16:
      case 0x1e:
        if (R[d] !== b) break;
        pc = code[pc + 1]!;
        continue;
      case 0x26:
      case 0x2e:
        if (R[d]! >>> 0 <= b >>> 0) break;
        pc = code[pc + 1]!;
        continue;
      case 0x36:
      case 0x3e:
        if (R[d]! >>> 0 < b >>> 0) break;
        pc = code[pc + 1]!;
        continue;
      case 0x46:
      case 0x4e:
        if ((R[d]! & b) === 0) break;
        pc = code[pc + 1]!;
        continue;
      case 0x56:
      case 0x5e:
        if (R[d] === b) break;
        pc = code[pc + 1]!;
        continue;
      case 0x66:
      case 0x6e:
        if (R[d]! <= b) break;
        pc = code[pc + 1]!;
        continue;
      case 0x76:
      case 0x7e:
        if (R[d]! < b) break;
        pc = code[pc + 1]!;
        continue;
      case 0xa6:
      case 0xae:
        if (R[d]! >>> 0 >= b >>> 0) break;
        pc = code[pc + 1]!;
        continue;
      case 0xb6:
      case 0xbe:
        if (R[d]! >>> 0 > b >>> 0) break;
        pc = code[pc + 1]!;
        continue;
      case 0xc6:
      case 0xce:
        if (R[d]! >= b) break;
        pc = code[pc + 1]!;
        continue;
      case 0xd6:
      case 0xde:
        if (R[d]! > b) break;
        pc = code[pc + 1]!;
        continue;

      // Calls
      case 0x85:
        machine.program = program;
        machine.pc = pc;
        machine.left = left;
        program.calls[code[pc + 2]!]!(machine);
        left = machine.left;
        break;
      case 0x185:
        machine.enter(program, pc, pc + 4);
        pc = code[pc + 1]!;
        continue;
      case 0x187: {
        const target = machine.tailCall(program, pc);
        if (target === undefined) break;
        program = target;
        code = program.code;
        pc = 0;
        continue;
      }
      case 0x95:
        if (machine.depth === base) {
          machine.left = left;
          return;
        }
        program = machine.leave();
        code = program.code;
        pc = machine.resumeAt;
        continue;
      default:
        throw new Error(
          `decode program ${program.name}: no operation 0x${(w & 0xfff).toString(16)}`,
        );
    }
    pc += 4;
  }
}
