import { NotSupported, type Platform, readFile } from '@heddle/sys';
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

/** Where a program's references lead. */
export interface Surroundings {
  /** Descriptor of a map of the object. */
  readonly mapFd: (name: string) => number;
  readonly kernelBtf: () => Btf;
  /** Address of a kernel symbol that BTF doesn't describe. */
  readonly symbolAddress: (name: string) => bigint | undefined;
}

/** The running kernel, whose types (or `types` in their place) and symbols are read when they are first needed. */
export function kernelSurroundings(
  platform: Platform,
  mapFd: (name: string) => number,
  types?: Btf,
): Surroundings {
  let kernel = types;
  let symbols: Uint8Array | undefined;
  return {
    mapFd,
    kernelBtf: () => {
      kernel ??= kernelBtf(platform);
      return kernel;
    },
    symbolAddress: (name) => {
      symbols ??= readFile(platform, '/proc/kallsyms');
      return findSymbol(symbols, name) || undefined;
    },
  };
}

/**
 * The program's instructions as they are loaded: adapted to the kernel's types (CO-RE), with references
 * completed. Asks for the kernel's types only if the program depends on them. Throws NotSupported for
 * what the kernel lacks, and what `applyCoreRelocations` throws.
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
 * Completes, in `instructions`, what the program refers to outside of itself. Weak references that the kernel can't serve become 0 (values) or a
 * call that the verifier refuses unless it is dead code. Throws NotSupported for others.
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
          // An offset of 0 stands for the kernel itself; others would name a module's BTF.
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

/** BTF id in the kernel of what a tracing program attaches to; undefined for other programs. */
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

/** Completes a 16-byte load: its low and high words and what they stand for. */
function setWide(code: DataView, at: number, source: number, low: number, high: number): void {
  setSource(code, at, source);
  code.setInt32(at + 4, low, true);
  code.setInt32(at + 12, high, true);
}

function setSource(code: DataView, at: number, source: number): void {
  code.setUint8(at + 1, (code.getUint8(at + 1) & 0x0f) | (source << 4));
}
