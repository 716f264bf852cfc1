import { NotSupported, readFile } from '@heddle/sys';
import type { Bpf } from './bpf.ts';
import type { Btf } from './btf.ts';
import { applyCoreRelocations } from './core-relocation.ts';
import { findSymbol } from './kallsyms.ts';
import { kernelBtf } from './kernel-btf.ts';
import { kfuncPoison } from './poison.ts';
import type { ObjectSpec, ProgramSpec, Reference } from './spec.ts';
import {
  attachTypes,
  BPF_PSEUDO_BTF_ID,
  BPF_PSEUDO_FUNC,
  BPF_PSEUDO_KFUNC_CALL,
  BPF_PSEUDO_MAP_FD,
  BPF_PSEUDO_MAP_VALUE,
  programTypes,
} from './uapi.ts';

/** The targets of a program's references. */
export interface Surroundings {
  /** Returns the descriptor of a map of the object. */
  readonly mapFd: (name: string) => number;
  readonly kernelBtf: () => Btf;
  /** Returns the address of a kernel symbol that is not in BTF. */
  readonly symbolAddress: (name: string) => bigint | undefined;
}

/**
 * Returns the surroundings of programs in the kernel of `bpf`. Its types and symbols are read when
 * they are first needed; `types` take the place of the kernel's.
 */
export function kernelSurroundings(
  bpf: Pick<Bpf, 'platform'>,
  mapFd: (name: string) => number,
  types?: Btf,
): Surroundings {
  let kernel = types;
  let symbols: Uint8Array | undefined;
  return {
    mapFd,
    kernelBtf: () => {
      kernel ??= kernelBtf(bpf.platform);
      return kernel;
    },
    symbolAddress: (name) => {
      symbols ??= readFile(bpf.platform, '/proc/kallsyms');
      return findSymbol(symbols, name) || undefined;
    },
  };
}

/**
 * Returns the program's instructions as they are loaded: adapted to the kernel's types (CO-RE), with
 * references completed. Reads the kernel's types only if the program depends on them. Throws NotSupported
 * for what the kernel lacks, and as `applyCoreRelocations` does.
 */
export function completeInstructions(
  { btf }: Pick<ObjectSpec, 'btf'>,
  program: ProgramSpec,
  surroundings: Surroundings,
): Uint8Array {
  const instructions =
    program.relocations.length > 0 && btf
      ? applyCoreRelocations(program, btf, surroundings.kernelBtf())
      : program.instructions.slice();
  resolveReferences(program, instructions, surroundings);
  return instructions;
}

/**
 * Completes the references in `instructions`. A weak reference to something that the kernel lacks becomes
 * 0 (a value), or a call that the verifier refuses outside of dead code. Throws NotSupported for others.
 */
function resolveReferences(
  program: ProgramSpec,
  instructions: Uint8Array,
  { mapFd, kernelBtf, symbolAddress }: Surroundings,
): void {
  const code = new DataView(instructions.buffer, instructions.byteOffset, instructions.byteLength);
  for (const reference of program.references) {
    const at = reference.at * 8;
    switch (reference.kind) {
      case 'map':
        setWide(code, at, BPF_PSEUDO_MAP_FD, mapFd(reference.map), 0);
        break;
      case 'data':
        setWide(code, at, BPF_PSEUDO_MAP_VALUE, mapFd(reference.map), reference.offset);
        break;
      case 'function':
        setWide(code, at, BPF_PSEUDO_FUNC, reference.target - reference.at - 1, 0);
        break;
      case 'kfunc': {
        const id = kernelBtf().byName(reference.name, 'func')?.id;
        if (id === undefined) {
          if (!reference.weak) throw missing(program, reference, 'kernel function');
          setSource(code, at, 0);
          code.setInt32(at + 4, kfuncPoison + reference.at, true);
        } else {
          setSource(code, at, BPF_PSEUDO_KFUNC_CALL);
          // Offset 0 means the kernel itself. Others would be those of a module's BTF.
          code.setInt16(at + 2, 0, true);
          code.setInt32(at + 4, id, true);
        }
        break;
      }
      case 'ksym': {
        const btf = kernelBtf();
        const { name } = reference;
        const id = (btf.byName(name, 'var') ?? btf.byName(name, 'func'))?.id;
        if (id !== undefined) {
          setWide(code, at, BPF_PSEUDO_BTF_ID, id, 0);
          break;
        }
        const address = symbolAddress(name);
        if (address === undefined && !reference.weak) {
          throw missing(program, reference, 'kernel symbol');
        }
        setSource(code, at, 0);
        code.setUint32(at + 4, Number((address ?? 0n) & 0xffffffffn), true);
        code.setUint32(at + 12, Number((address ?? 0n) >> 32n), true);
        break;
      }
    }
  }
}

/** Returns the BTF id of the target of a tracing program in the kernel, or undefined for other programs. */
export function attachTarget(program: ProgramSpec, kernel: () => Btf): number | undefined {
  if (program.type !== programTypes.tracing && program.type !== programTypes.lsm) return undefined;
  const target = program.attachTo;
  if (target === undefined) {
    throw new Error(`load program ${program.name}: section ${program.section} names no target`);
  }
  const [name, kind] = nameInKernel(program, target);
  const id = kernel().byName(name, kind)?.id;
  if (id === undefined) {
    throw new NotSupported(`${program.section} (for program ${program.name})`, `with ${name}`);
  }
  return id;
}

function nameInKernel(
  program: ProgramSpec,
  target: string,
): readonly [name: string, kind: 'func' | 'typedef'] {
  if (program.type === programTypes.lsm) return [`bpf_lsm_${target}`, 'func'];
  switch (program.attachType) {
    case attachTypes.trace_iter:
      return [`bpf_iter_${target}`, 'func'];
    case attachTypes.trace_raw_tp:
      return [`btf_trace_${target}`, 'typedef'];
    default:
      return [target, 'func'];
  }
}

function missing(program: ProgramSpec, reference: Reference & { name: string }, what: string) {
  return new NotSupported(
    `${what} ${reference.name} (called by program ${program.name})`,
    `with ${reference.name}`,
  );
}

/** Completes a 16-byte load: its low and high words and their meaning. */
function setWide(code: DataView, at: number, source: number, low: number, high: number): void {
  setSource(code, at, source);
  code.setInt32(at + 4, low, true);
  code.setInt32(at + 12, high, true);
}

function setSource(code: DataView, at: number, source: number): void {
  code.setUint8(at + 1, (code.getUint8(at + 1) & 0x0f) | (source << 4));
}
