import { Btf, type ProgramLoadOptions } from '@heddle/ebpf';
import {
  BPF_PSEUDO_BTF_ID,
  BPF_PSEUDO_FUNC,
  BPF_PSEUDO_MAP_FD,
  BPF_PSEUDO_MAP_VALUE,
  corePoison,
} from '@heddle/ebpf/internal';
import { LoadError } from './fault.ts';
import { helpersByNumber } from './helpers/index.ts';
import { decode } from './instructions.ts';
import { sourceLines } from './lines.ts';
import type { Helper, Machine, Program } from './machine.ts';
import { BtfObject, MapObject, type VmObject } from './objects.ts';

/** Kernel functions that programs can call, by name. */
export type KernelFunctions = Readonly<Record<string, Helper>>;

export interface LoadSurroundings {
  readonly machine: Machine;
  /** Returns the object of a descriptor. */
  readonly object: (fd: number) => VmObject | undefined;
  readonly kernelFunctions: KernelFunctions;
}

export interface LoadedProgram {
  readonly program: Program;
  readonly maps: readonly MapObject[];
  readonly btf: BtfObject | undefined;
}

/** Prepares a program for the machine. Throws LoadError with a message like the verifier's. */
export function prepareProgram(
  options: ProgramLoadOptions,
  surroundings: LoadSurroundings,
): LoadedProgram {
  const { machine, kernelFunctions, object } = surroundings;
  // Programs call kernel functions by its type ids.
  const { kernelBtf } = machine;
  const maps: MapObject[] = [];
  const calls: Helper[] = [];
  const known = new Map<Helper, number>();
  let codeRegion = 0;
  const btf = options.btf === undefined ? undefined : object(options.btf);
  if (btf !== undefined && !(btf instanceof BtfObject))
    throw new LoadError('the descriptor is not of BTF');
  const section = options.section === undefined ? '' : ` (section ${options.section})`;

  const indexOf = (helper: Helper) => {
    const index = known.get(helper) ?? calls.push(helper) - 1;
    known.set(helper, index);
    return index;
  };
  const mapOf = (fd: number, at: number) => {
    const found = object(fd);
    if (!(found instanceof MapObject))
      throw new LoadError(`instruction ${at}: fd ${fd} is not pointing to valid bpf_map`);
    if (!maps.includes(found)) maps.push(found);
    return found.map;
  };

  const program: Program = {
    name: options.name,
    section: options.section,
    type: options.type,
    attachType: options.expectedAttachType ?? 0,
    calls,
    maps: [],
    sourceOf: sourceLines(options.lineInfo, btf && Btf.parse(btf.bytes)),
    code: new Int32Array(0),
    codeRegion: 0,
    runs: 0,
  };
  const code = decode(options.instructions, {
    helper(id, at) {
      const helper = helpersByNumber[id]?.[1];
      if (helper) return indexOf(helper);
      if (id >= corePoison) return indexOf(lacking);
      throw new LoadError(
        `instruction ${at}: invalid func ${id}: the userspace machine has no helper of this number${section}`,
      );
    },
    kernelFunction(id, at) {
      const name = kernelBtf?.nameOf(id);
      const helper = name === undefined ? undefined : kernelFunctions[name];
      if (helper) return indexOf(helper);
      throw new LoadError(
        `instruction ${at}: calling kernel function ${name || id} is not allowed: the userspace machine has no such function${section}`,
      );
    },
    address(mark, low, high, at) {
      switch (mark) {
        case 0:
          return [low, high];
        case BPF_PSEUDO_MAP_FD:
          return [0, mapOf(low, at).region];
        case BPF_PSEUDO_MAP_VALUE: {
          const map = mapOf(low, at);
          const region = map.directValue();
          if (region === 0)
            throw new LoadError(`instruction ${at}: map ${map.options.name} has no direct access`);
          return [high, region];
        }
        case BPF_PSEUDO_FUNC:
          codeRegion ||= machine.memory.add({ kind: 'code', program });
          return [at + 1 + low, codeRegion];
        case BPF_PSEUDO_BTF_ID: {
          // A program tests the address of a function for its existence. It can't read through it.
          const name = kernelBtf?.nameOf(low) ?? '';
          if (name in kernelFunctions)
            return [1, machine.memory.add({ kind: 'kernel', what: `kernel function ${name}` })];
          throw new LoadError(
            `instruction ${at}: the userspace machine has no kernel symbol ${name || low}`,
          );
        }
        default:
          throw new LoadError(`instruction ${at}: a 64-bit load of kind ${mark} is not simulated`);
      }
    },
  });
  const ready = Object.assign(program, { code, codeRegion, maps: maps.map(({ map }) => map) });
  return { program: ready, maps, btf };
}

/** Replaces a helper or kfunc that the simulated kernel lacks. A call throws, so it is allowed in dead code only. */
const lacking: Helper = (machine) =>
  machine.refuse('something that this machine lacks is used', 'not-simulated');
