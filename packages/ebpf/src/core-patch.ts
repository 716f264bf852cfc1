/** The result of a relocation for the running kernel. */
export interface Resolution {
  /** The value for the instruction; absent when the kernel lacks what the instruction uses. */
  readonly value: bigint | undefined;
  /**
   * For a field with another width: its bytes in the program and in the kernel. `to` is absent where a
   * load of another width would not result in the same number.
   */
  readonly resize?: { readonly from: number; readonly to: number | undefined };
}

/** The number of the helper that poisoned instructions call. The log of the verifier has it. */
export const corePoison = 0xbad2310;

const CALL = 0x85;
const LD_IMM64 = 0x18;
const BPF_X = 0x08;

// Classes in the lower three bits of an opcode (linux/bpf_common.h, linux/bpf.h).
const LD = 0;
const LDX = 1;
const ST = 2;
const STX = 3;
const ALU = 4;
const ALU64 = 7;

/** BPF_SIZE bits of an opcode by bytes. */
const sizeBits: Readonly<Record<number, number>> = { 1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18 };

/**
 * Writes the result of a relocation into the instruction at slot `at`, in place. Returns the problem when
 * the instruction can't hold it.
 */
export function patchInstruction(
  instructions: Uint8Array,
  at: number,
  { value, resize }: Resolution,
): string | undefined {
  const start = at * 8;
  if (!Number.isInteger(at) || start + 8 > instructions.length) return 'lies beyond the program';
  const view = new DataView(instructions.buffer, instructions.byteOffset + start);
  const opcode = view.getUint8(0);
  const isWide = opcode === LD_IMM64;
  if (isWide && view.byteLength < 16) return 'instruction is cut off';
  if (value === undefined) {
    poison(view, 0);
    if (isWide) poison(view, 8);
    return undefined;
  }
  switch (opcode & 7) {
    case ALU:
    case ALU64:
      if ((opcode & BPF_X) !== 0) return 'arithmetic without an immediate value';
      // Both signs of 32 bits are in use: 0xffffffff of a u32 enum, -1 of a signed one.
      if (value > 0xffffffffn || value < -0x80000000n) return `${value} exceeds 32 bits`;
      view.setInt32(4, Number(BigInt.asIntN(32, value)), true);
      return undefined;
    case LDX:
    case ST:
    case STX: {
      if (value > 0x7fffn || value < 0n) return `offset ${value} exceeds 15 bits`;
      if (resize !== undefined) {
        const bits = sizeBits[resize.to ?? 0];
        if (resize.to === undefined) {
          poison(view, 0);
          return undefined;
        }
        if (bits === undefined || (opcode & 0x18) !== sizeBits[resize.from]) {
          return `field of ${resize.from} bytes has ${resize.to} in the kernel`;
        }
        view.setUint8(0, (opcode & ~0x18) | bits);
      }
      view.setInt16(2, Number(value), true);
      return undefined;
    }
    case LD:
      if (!isWide) return 'instruction takes no value';
      view.setInt32(4, Number(BigInt.asIntN(32, value)), true);
      view.setInt32(12, Number(BigInt.asIntN(32, value >> 32n)), true);
      return undefined;
    default:
      return 'instruction takes no value';
  }
}

function poison(view: DataView, at: number): void {
  view.setUint8(at, CALL);
  view.setUint8(at + 1, 0);
  view.setInt16(at + 2, 0, true);
  view.setInt32(at + 4, corePoison, true);
}
