import type { ProgramSpec } from '@heddle/ebpf';

/** A chain of calls, outermost first, and the bytes of stack that it needs. */
export interface StackDepth {
  readonly bytes: number;
  /** The first instruction of each function, and the bytes of its frame. */
  readonly chain: readonly { readonly at: number; readonly frame: number }[];
}

interface SubprogramFrame {
  readonly at: number;
  frame: number;
  readonly calls: Set<number>;
}

const framePointer = 10;
const pseudoCall = 1;
/** Classes of instructions that access memory, by the register that has the address. */
const loadClass = 1;
const storeClasses: readonly number[] = [2, 3];
/** Kernels before 6.13, and those without a JIT compiler, round each frame up to so many bytes. */
const rounding = 32;

/**
 * Returns the deepest chain of calls of a program as the verifier adds it up: the frame of each function reaches
 * to the lowest byte below the frame pointer that it uses. Callbacks of helpers count as calls.
 */
export function stackDepth(program: ProgramSpec): StackDepth {
  const frames = subprogramFrames(program);
  const deepest = (at: number): StackDepth => {
    const { frame, calls } = frames.get(at)!;
    const inner = [...calls]
      .map(deepest)
      .reduce((a, b) => (b.bytes > a.bytes ? b : a), { bytes: 0, chain: [] });
    const own = Math.ceil(Math.max(frame, 1) / rounding) * rounding;
    return { bytes: own + inner.bytes, chain: [{ at, frame }, ...inner.chain] };
  };
  return deepest(0);
}

function subprogramFrames(program: ProgramSpec): ReadonlyMap<number, SubprogramFrame> {
  const starts = program.functions.map(({ at }) => at).sort((a, b) => a - b);
  const frames = new Map(
    starts.map((at) => [at, { at, frame: 0, calls: new Set<number>() } as SubprogramFrame]),
  );
  const kernel = new Set(
    program.references.filter(({ kind }) => kind === 'kfunc').map(({ at }) => at),
  );
  for (const [i, start] of starts.entries()) {
    const end = starts[i + 1] ?? program.instructions.length / 8;
    readFunction(program.instructions, start, end, kernel, frames.get(start)!);
  }
  for (const reference of program.references) {
    if (reference.kind !== 'function') continue;
    const caller = starts.findLast((start) => start <= reference.at)!;
    frames.get(caller)!.calls.add(reference.target);
  }
  return frames;
}

/** `kernel` has the calls of kernel functions. */
function readFunction(
  code: Uint8Array,
  start: number,
  end: number,
  kernel: ReadonlySet<number>,
  into: SubprogramFrame,
): void {
  const view = new DataView(code.buffer, code.byteOffset, code.byteLength);
  /** Registers that hold the frame pointer, by the instruction before. */
  let copied = -1;
  const uses = (below: number) => {
    into.frame = Math.max(into.frame, -below);
  };
  for (let at = start; at < end; at++) {
    const [operation, registers] = [code[8 * at]!, code[8 * at + 1]!];
    const [to, from] = [registers & 15, registers >> 4];
    const [offset, constant] = [view.getInt16(8 * at + 2, true), view.getInt32(8 * at + 4, true)];
    const kind = operation & 7;
    if (kind === loadClass && from === framePointer) uses(offset);
    if (storeClasses.includes(kind) && to === framePointer) uses(offset);
    if (operation === opcodes.add && to === copied) uses(constant);
    copied = operation === opcodes.move && from === framePointer ? to : -1;
    if (operation === opcodes.call && from === pseudoCall && !kernel.has(at)) {
      into.calls.add(at + 1 + constant);
    }
    if (operation === opcodes.load64) at++;
  }
}

/** The opcodes of 64-bit instructions: `to += constant`, `to = from`, calls, and the one that has two slots. */
const opcodes = { add: 0x07, move: 0xbf, call: 0x85, load64: 0x18 };
