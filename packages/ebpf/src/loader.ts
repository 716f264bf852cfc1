import { decodeCString, type Platform, SysError } from '@heddle/sys';
import type { Bpf } from './bpf.ts';
import type { Btf } from './btf.ts';
import { VerifierError } from './errors.ts';
import { LoadedObject } from './loaded-object.ts';
import { BpfMap } from './map.ts';
import { btfForKernel } from './object-btf.ts';
import { explainPoison } from './poison.ts';
import { BpfProgram } from './program.ts';
import {
  attachTarget,
  completeInstructions,
  kernelSurroundings,
  type Surroundings,
} from './references.ts';
import type { ObjectSpec, ProgramSpec } from './spec.ts';

export interface LoadOptions {
  /** Maps to use in place of creating them; they stay the caller's. */
  readonly maps?: Readonly<Record<string, BpfMap>>;
  /** In place of the running kernel's. */
  readonly kernelBtf?: Btf;
  /** Names of the programs to load; absent: all but those whose section starts with `?`. */
  readonly programs?: readonly string[];
}

/**
 * Turns a Spec into kernel objects: maps, their initial contents, BTF, programs. All or nothing:
 * what was made is closed when a step fails. Nothing is attached or pinned. Throws VerifierError,
 * SysError, and Error for a name that neither object nor kernel has.
 */
export function loadObject(
  bpf: Bpf,
  platform: Platform,
  spec: ObjectSpec,
  options: LoadOptions = {},
): LoadedObject {
  const loaded = new LoadedObject(spec.variables);
  const btf = spec.btf && loadBtf(bpf, btfForKernel(spec.btf));
  try {
    loadMaps(bpf, spec, options.maps ?? {}, btf, loaded);
    const mapFd = (name: string) => loaded.map(name).fd;
    const surroundings = kernelSurroundings(platform, mapFd, options.kernelBtf);
    for (const name of options.programs ?? wantedPrograms(spec)) {
      const program = spec.programs.get(name);
      if (!program) throw new Error(`load program ${name}: the object has no such program`);
      loaded.add(loadProgram(bpf, spec, program, surroundings, btf));
    }
    fillInitialElements(spec, options.maps ?? {}, loaded);
    return loaded;
  } catch (error) {
    loaded[Symbol.dispose]();
    throw error;
  } finally {
    // Maps and programs hold the BTF from here on.
    if (btf !== undefined) bpf.close(btf);
  }
}

function wantedPrograms({ programs }: ObjectSpec): string[] {
  return [...programs.keys()].filter((name) => !programs.get(name)!.section.startsWith('?'));
}

/** Loads BTF; what the kernel has to say against it is in the error. */
function loadBtf(bpf: Bpf, bytes: Uint8Array): number {
  try {
    return bpf.btfLoad(bytes);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    const log = new Uint8Array(1 << 20);
    try {
      return bpf.btfLoad(bytes, log);
    } catch {
      // The first error has the cause; this try was for the log.
      const complaint = decodeCString(log).trimEnd().split('\n').at(-1);
      throw new SysError('bpf', error.errno, `load btf${complaint ? ` (${complaint})` : ''}`);
    }
  }
}

function loadMaps(
  bpf: Bpf,
  spec: ObjectSpec,
  reused: Readonly<Record<string, BpfMap>>,
  btf: number | undefined,
  loaded: LoadedObject,
): void {
  for (const [name, map] of spec.maps) {
    if (Object.hasOwn(reused, name)) {
      loaded.addMap(name, reused[name]!, false);
      continue;
    }
    const made = BpfMap.create(bpf, map, { btf });
    loaded.addMap(name, made, true);
    if (map.contents?.some((byte) => byte !== 0)) made.update(word(0), map.contents);
    // Frozen contents are constants to the verifier, which removes the branches they rule out.
    if (map.contents && map.readOnly) made.freeze();
  }
}

/** Maps in maps of maps and programs in program arrays, as the source's `values` lists them. */
function fillInitialElements(
  spec: ObjectSpec,
  reused: Readonly<Record<string, BpfMap>>,
  loaded: LoadedObject,
): void {
  for (const [name, map] of spec.maps) {
    if (Object.hasOwn(reused, name)) continue;
    for (const { index, name: member } of map.initial ?? []) {
      // A program array may name programs that the caller left out.
      const held = loaded.maps.get(member) ?? loaded.programs.get(member);
      if (held) loaded.map(name).update(word(index), word(held.fd));
    }
  }
}

const word = (value: number) => new Uint8Array(new Uint32Array([value]).buffer);

function loadProgram(
  bpf: Bpf,
  spec: ObjectSpec,
  program: ProgramSpec,
  surroundings: Surroundings,
  btf: number | undefined,
): BpfProgram {
  if (program.type === 0) {
    throw new Error(
      `load program ${program.name}: section ${program.section} stands for no type of program`,
    );
  }
  const instructions = completeInstructions(spec, program, surroundings);
  try {
    return BpfProgram.load(bpf, {
      name: program.name,
      section: program.section,
      type: program.type,
      instructions,
      license: spec.license,
      expectedAttachType: program.attachType,
      attachBtfId: attachTarget(program, surroundings.kernelBtf),
      flags: program.flags,
      btf,
      functionInfo: btf === undefined ? undefined : functionInfo(program),
      lineInfo: btf === undefined ? undefined : lineInfo(program),
    });
  } catch (error) {
    throw error instanceof VerifierError ? explainPoison(error, program, spec.btf) : error;
  }
}

/** struct bpf_func_info for each subprogram. */
function functionInfo(program: ProgramSpec): Uint8Array {
  const words = new Uint32Array(program.functions.length * 2);
  program.functions.forEach((entry, i) => {
    words[i * 2] = entry.at;
    words[i * 2 + 1] = entry.typeId;
  });
  return new Uint8Array(words.buffer);
}

/** struct bpf_line_info for each line; the column is in the low 10 bits of the last word. */
function lineInfo(program: ProgramSpec): Uint8Array {
  const words = new Uint32Array(program.lines.length * 4);
  program.lines.forEach((entry, i) => {
    words[i * 4] = entry.at;
    words[i * 4 + 1] = entry.fileOffset;
    words[i * 4 + 2] = entry.textOffset;
    words[i * 4 + 3] = (entry.line << 10) | (entry.column & 0x3ff);
  });
  return new Uint8Array(words.buffer);
}
