import type { Platform } from '@heddle/sys';
import type { Bpf } from './bpf.ts';
import type { Btf } from './btf.ts';
import { applyCoreRelocations } from './core-relocation.ts';
import { kernelBtf } from './kernel-btf.ts';
import { BpfMap } from './map.ts';
import { btfForKernel } from './object-btf.ts';
import { BpfProgram } from './program.ts';
import { attachTarget, resolveReferences } from './references.ts';
import type { ObjectSpec, ProgramSpec, VariableSpec } from './spec.ts';

export interface LoadOptions {
  /** Maps to use in place of creating them; they stay the caller's. */
  readonly maps?: Readonly<Record<string, BpfMap>>;
  /** In place of the running kernel's. */
  readonly kernelBtf?: Btf;
  /** Names of the programs to load; absent: all. */
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
  const btf = spec.btf && bpf.btfLoad(btfForKernel(spec.btf));
  try {
    loadMaps(bpf, spec, options.maps ?? {}, btf, loaded);
    const kernel = () => options.kernelBtf ?? kernelBtf(platform);
    for (const name of options.programs ?? spec.programs.keys()) {
      const program = spec.programs.get(name);
      if (!program) throw new Error(`load program ${name}: the object has no such program`);
      loaded.add(loadProgram(bpf, spec, program, loaded, kernel, btf));
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

/** Maps and programs of a loaded object. Disposal closes what the loader made. */
export class LoadedObject implements Disposable {
  readonly #maps = new Map<string, BpfMap>();
  readonly #programs = new Map<string, BpfProgram>();
  readonly #owned: Disposable[] = [];
  /** Where global variables lie in the maps of the data sections. */
  readonly variables: ReadonlyMap<string, VariableSpec>;

  constructor(variables: ReadonlyMap<string, VariableSpec>) {
    this.variables = variables;
  }

  get maps(): ReadonlyMap<string, BpfMap> {
    return this.#maps;
  }

  get programs(): ReadonlyMap<string, BpfProgram> {
    return this.#programs;
  }

  /** Throws Error when the object has no such map. */
  map(name: string): BpfMap {
    const map = this.#maps.get(name);
    if (!map) throw new Error(`find map ${name}: the object has no such map`);
    return map;
  }

  /** Throws Error when no such program was loaded. */
  program(name: string): BpfProgram {
    const program = this.#programs.get(name);
    if (!program) throw new Error(`find program ${name}: no such program was loaded`);
    return program;
  }

  /** For the loader. A map that isn't `owned` stays open when this is disposed. */
  addMap(name: string, map: BpfMap, owned: boolean): void {
    this.#maps.set(name, map);
    if (owned) this.#owned.push(map);
  }

  /** For the loader. */
  add(program: BpfProgram): void {
    this.#programs.set(program.name, program);
    this.#owned.push(program);
  }

  [Symbol.dispose](): void {
    for (const held of this.#owned) held[Symbol.dispose]();
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
  loaded: LoadedObject,
  kernel: () => Btf,
  btf: number | undefined,
): BpfProgram {
  const relocated =
    program.relocations.length > 0 && spec.btf
      ? applyCoreRelocations(program, spec.btf, kernel())
      : program.instructions.slice();
  resolveReferences(program, relocated, (name) => loaded.map(name).fd, kernel);
  return BpfProgram.load(bpf, {
    name: program.name,
    type: program.type,
    instructions: relocated,
    license: spec.license,
    expectedAttachType: program.attachType,
    attachBtfId: attachTarget(program, kernel),
    flags: program.flags,
    btf,
    functionInfo: btf === undefined ? undefined : functionInfo(program),
    lineInfo: btf === undefined ? undefined : lineInfo(program),
  });
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
