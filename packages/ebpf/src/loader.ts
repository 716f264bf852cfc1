import { decodeCString, SysError } from '@heddle/sys';
import type { Bpf } from './bpf.ts';
import type { Btf } from './btf.ts';
import { Incompatible, VerifierError } from './errors.ts';
import { LoadedObject } from './loaded-object.ts';
import { BpfMap, compatibility } from './map.ts';
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

/** Options of `loadObject`. */
export interface LoadOptions {
  /** Existing maps by the object's names for them. The caller keeps them and closes them. */
  readonly maps?: Readonly<Record<string, BpfMap>>;
  /** Types of the kernel. The default is those of the running kernel. */
  readonly kernelBtf?: Btf;
  /** Names of the programs to load. The default is all whose section does not start with `?`. */
  readonly programs?: readonly string[];
}

/**
 * Makes kernel objects of a Spec: maps, their initial contents, BTF, programs. All or nothing: when
 * a step fails, what was made is closed. Nothing is attached or pinned. Throws VerifierError,
 * Incompatible for one of `options.maps` that differs from the object's, SysError, and Error for a
 * name that the object or the kernel does not have.
 */
export function loadObject(bpf: Bpf, spec: ObjectSpec, options: LoadOptions = {}): LoadedObject {
  const { maps: reused = {} } = options;
  checkReused(spec, reused);
  const loaded = new LoadedObject(spec.variables);
  const btf = spec.btf && loadBtf(bpf, btfForKernel(spec.btf));
  try {
    loadMaps(bpf, spec, reused, btf, loaded);
    const mapFd = (name: string) => loaded.map(name).fd;
    const surroundings = kernelSurroundings(bpf, mapFd, options.kernelBtf);
    for (const name of options.programs ?? wantedPrograms(spec)) {
      const program = spec.programs.get(name);
      if (!program) throw missing('program', name, spec.programs);
      loaded.add(loadProgram(bpf, spec, program, surroundings, btf));
    }
    fillInitialElements(spec, reused, loaded);
    return loaded;
  } catch (error) {
    loaded[Symbol.dispose]();
    throw error;
  } finally {
    // Maps and programs hold the BTF from here on.
    if (btf !== undefined) bpf.close(btf);
  }
}

/** Refuses maps that the object does not have, and those that its programs can't work with. */
function checkReused(spec: ObjectSpec, reused: Readonly<Record<string, BpfMap>>): void {
  for (const [name, map] of Object.entries(reused)) {
    const wanted = spec.maps.get(name);
    if (!wanted) throw missing('map', name, spec.maps);
    const differences = compatibility(map.info, wanted);
    if (differences.length > 0) throw new Incompatible(`map ${name}`, differences);
  }
}

function missing(kind: string, name: string, known: ReadonlyMap<string, unknown>): Error {
  const names = [...known.keys()].join(', ') || 'none';
  return new Error(`load ${kind} ${name}: the object has no such ${kind} (it has ${names})`);
}

function wantedPrograms({ programs }: ObjectSpec): string[] {
  return [...programs.keys()].filter((name) => !programs.get(name)!.section.startsWith('?'));
}

/** Loads BTF. The error has what the kernel objects to. */
function loadBtf(bpf: Bpf, bytes: Uint8Array): number {
  try {
    return bpf.btfLoad(bytes);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    const log = new Uint8Array(1 << 20);
    try {
      return bpf.btfLoad(bytes, log);
    } catch {
      // The first error has the cause. The second try was for the log.
      const complaint = decodeCString(log).trimEnd().split('\n').at(-1);
      throw error.about(`load btf${complaint ? ` (${complaint})` : ''}`);
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
    const made = BpfMap.create(bpf, map, btf);
    loaded.addMap(name, made, true);
    if (map.contents?.some((byte) => byte !== 0)) made.update(word(0), map.contents);
    // Frozen contents are constants to the verifier, which removes the branches they rule out.
    if (map.contents && map.readOnly) made.freeze();
  }
}

/** Fills maps of maps and program arrays with what the source's `values` lists. */
function fillInitialElements(
  spec: ObjectSpec,
  reused: Readonly<Record<string, BpfMap>>,
  loaded: LoadedObject,
): void {
  for (const [name, map] of spec.maps) {
    if (Object.hasOwn(reused, name)) continue;
    for (const { index, name: member } of map.initial ?? []) {
      // A program array may name programs that the caller did not want.
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
      `load program ${program.name}: no type of program has a section ${program.section}`,
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
