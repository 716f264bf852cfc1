import { decodeCString } from '@heddle/sys';
import { type Btf, BtfError } from './btf.ts';
import { readBtfExt } from './btf-ext.ts';
import { ElfError, type ElfFile, readElf } from './elf.ts';
import { linkPrograms } from './linker.ts';
import { dataMaps, dataVariables, definedMaps, isDataSection } from './map-specs.ts';
import { readObjectBtf } from './object-btf.ts';
import type { MapSpec, ObjectSpec } from './spec.ts';

/**
 * Reads a BPF object file (`clang -target bpf -g`) into a Spec, which does not depend on the running
 * kernel. Its maps are those defined by BTF in `.maps`, and the data sections. It keeps no reference
 * to `bytes`. Throws ElfError, and BtfError for wrong type information; `file` is the name of the
 * file in these errors.
 */
export function readObject(bytes: Uint8Array, file?: string): ObjectSpec {
  try {
    return read(bytes);
  } catch (error) {
    if (file === undefined) throw error;
    if (error instanceof ElfError) throw new ElfError(error.reason, file, { cause: error });
    if (error instanceof BtfError) throw new BtfError(error.reason, file, { cause: error });
    throw error;
  }
}

function read(bytes: Uint8Array): ObjectSpec {
  // A subclass such as Node's Buffer has another slice(), which shares memory.
  const elf = readElf(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length));
  refuseLegacy(elf);
  const btf = readObjectBtf(elf);
  const section = (name: string) => elf.sections.find((candidate) => candidate.name === name);
  const extBytes = section('.BTF.ext')?.bytes;
  const ext = btf === undefined || extBytes === undefined ? new Map() : readBtfExt(extBytes, btf);
  const defined = btf === undefined ? [] : definedMaps(elf, btf);
  const maps = new Map<string, MapSpec>();
  for (const spec of [...defined.map((map) => map.spec), ...dataMaps(elf, btf)]) {
    if (maps.has(spec.name)) throw new ElfError(`two maps are named ${spec.name}`);
    maps.set(spec.name, spec);
  }
  const byOffset = new Map(defined.map(({ spec, offset }) => [offset, spec.name]));
  const programs = linkPrograms(elf, {
    btf,
    ext,
    mapAt: (offset) => byOffset.get(offset),
    isData: isDataSection,
    kernelSymbols: declaredSymbols(btf),
  });
  return {
    license: decodeCString(section('license')?.bytes ?? new Uint8Array()),
    btf,
    programs,
    maps,
    variables: dataVariables(elf),
  };
}

/** Refuses old forms of objects, whose maps would otherwise be missing without a word. */
function refuseLegacy(elf: ElfFile): void {
  const names = new Set(elf.sections.map((section) => section.name));
  if (names.has('maps')) {
    throw new ElfError('section maps: define maps by BTF, in section .maps');
  }
  if (names.has('.maps') && !names.has('.BTF')) {
    throw new ElfError('section .maps without type information: compile with -g');
  }
}

function declaredSymbols(btf: Btf | undefined): Set<string> {
  const datasec = btf?.byName('.ksyms', 'datasec');
  if (btf === undefined || datasec?.kind !== 'datasec') return new Set();
  return new Set(datasec.entries.map((entry) => btf.nameOf(entry.typeId)));
}

/** The properties of a map that a caller may change before it is created. */
export type MapChanges = Partial<
  Pick<MapSpec, 'type' | 'maxEntries' | 'flags' | 'extra' | 'pinByName' | 'inner'>
>;

/** Returns a copy of the Spec in which one map differs. Throws ReferenceError for an unknown map. */
export function withMap(spec: ObjectSpec, name: string, changes: MapChanges): ObjectSpec {
  const map = spec.maps.get(name);
  if (map === undefined) throw new ReferenceError(`change map ${name}: the object has no such map`);
  return { ...spec, maps: new Map(spec.maps).set(name, { ...map, ...changes }) };
}

/** Returns a copy of the Spec in which one map holds `maxEntries` elements. */
export function resizeMap(spec: ObjectSpec, name: string, maxEntries: number): ObjectSpec {
  return withMap(spec, name, { maxEntries });
}

/**
 * Returns a copy of the Spec in which a global variable has another initial value, in the byte order
 * of the machine. Throws ReferenceError for an unknown variable, and RangeError for bytes of another
 * length than it has.
 */
export function setVariable(spec: ObjectSpec, name: string, bytes: Uint8Array): ObjectSpec {
  const variable = spec.variables.get(name);
  const map = variable === undefined ? undefined : spec.maps.get(variable.map);
  if (variable === undefined || map?.contents === undefined) {
    throw new ReferenceError(`set variable ${name}: the object has no such variable`);
  }
  if (bytes.length !== variable.size) {
    throw new RangeError(`set variable ${name}: ${bytes.length} bytes given, has ${variable.size}`);
  }
  const contents = map.contents.slice();
  contents.set(bytes, variable.offset);
  return { ...spec, maps: new Map(spec.maps).set(map.name, { ...map, contents }) };
}
