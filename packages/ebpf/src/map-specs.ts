import { type Btf, BtfError } from './btf.ts';
import type { BtfComposite, BtfType } from './btf-types.ts';
import {
  ElfError,
  type ElfFile,
  type ElfSection,
  SHF_ALLOC,
  SHF_EXECINSTR,
  SHT_NOBITS,
  STT_OBJECT,
} from './elf.ts';
import type { InitialElement, MapSpec, VariableSpec } from './spec.ts';

const BPF_MAP_TYPE_ARRAY = 2;
const BPF_F_RDONLY_PROG = 1 << 7;
const BPF_F_MMAPABLE = 1 << 10;
const LIBBPF_PIN_BY_NAME = 1;

/** The limit of `.bss`, which takes no space in the file. */
const largestZeroSection = 64 << 20;

const dataSection = /^\.(rodata|data|bss)(\..*)?$/;

/** Returns true if a section has global variables and becomes a map. */
export function isDataSection(section: ElfSection): boolean {
  const wanted = (section.flags & (SHF_ALLOC | SHF_EXECINSTR)) === SHF_ALLOC;
  return wanted && section.size > 0 && dataSection.test(section.name);
}

/** Returns the maps of the data sections. */
export function dataMaps(elf: ElfFile, btf: Btf | undefined): MapSpec[] {
  return elf.sections.filter(isDataSection).map((section) => {
    const readOnly = section.name.startsWith('.rodata');
    const address = elf.relocations.get(section.index)?.[0];
    if (address !== undefined) {
      // Programs would read zeroes there: nothing sets addresses in the contents of a map.
      const of = address.symbol.name || 'data';
      throw new ElfError(
        `section ${section.name} holds the address of ${of}, which BPF can't keep`,
      );
    }
    return {
      name: section.name,
      type: BPF_MAP_TYPE_ARRAY,
      keySize: 4,
      valueSize: section.size,
      maxEntries: 1,
      flags: BPF_F_MMAPABLE | (readOnly ? BPF_F_RDONLY_PROG : 0),
      keyTypeId: 0,
      valueTypeId: btf?.byName(section.name, 'datasec')?.id ?? 0,
      extra: 0n,
      pinByName: false,
      inner: undefined,
      initial: [],
      contents: contentsOf(section),
      readOnly,
    };
  });
}

function contentsOf(section: ElfSection): Uint8Array {
  if (section.type !== SHT_NOBITS) return section.bytes.slice();
  if (section.size > largestZeroSection) {
    throw new ElfError(`section ${section.name} of ${section.size} bytes is too large`);
  }
  return new Uint8Array(section.size);
}

/** Returns the global and static variables, by the symbols of the data sections. */
export function dataVariables(elf: ElfFile): Map<string, VariableSpec> {
  const variables = new Map<string, VariableSpec>();
  for (const { name, type, section, value, size } of elf.symbols) {
    const home = elf.sections[section];
    if (type !== STT_OBJECT || home === undefined || !isDataSection(home)) continue;
    if (value + size > home.size) throw new ElfError(`variable ${name} lies beyond ${home.name}`);
    variables.set(name, { name, map: home.name, offset: value, size });
  }
  return variables;
}

/** A map of `.maps` with the byte offset of its variable there. */
export interface DefinedMap {
  readonly spec: MapSpec;
  readonly offset: number;
}

/** Reads the maps that are defined by the types of variables in `.maps`. */
export function definedMaps(elf: ElfFile, btf: Btf): DefinedMap[] {
  const section = elf.sections.find((candidate) => candidate.name === '.maps');
  const datasec = btf.byName('.maps', 'datasec');
  if (section === undefined || datasec?.kind !== 'datasec') return [];
  return datasec.entries.map(({ typeId, offset, size }) => {
    const variable = btf.typeById(typeId);
    if (variable.kind !== 'var') throw new BtfError(`type ${typeId} in .maps is not a variable`);
    const type = btf.resolved(variable.typeId);
    if (type.kind !== 'struct') throw new BtfError(`map ${variable.name} is not a struct`);
    const { spec, valuesOffset } = readMap(variable.name, type, btf);
    const start = valuesOffset === undefined ? undefined : offset + valuesOffset;
    const initial =
      start === undefined ? [] : initialElements(elf, section, start, offset + size, spec);
    return { spec: { ...spec, initial }, offset };
  });
}

function readMap(name: string, type: BtfComposite, btf: Btf, isInner = false) {
  const numbers = { type: 0, max_entries: 0, map_flags: 0, key_size: 0, value_size: 0, pinning: 0 };
  let extra = 0n;
  const types = { key: 0, value: 0 };
  let inner: MapSpec | undefined;
  let valuesOffset: number | undefined;
  for (const member of type.members) {
    const field = member.name;
    if (Object.hasOwn(numbers, field)) {
      numbers[field as keyof typeof numbers] = Number(numberOf(name, field, member.typeId, btf));
    } else if (field === 'key' || field === 'value') {
      types[field] = pointedTo(name, field, member.typeId, btf);
      const size = `${field}_size` as const;
      const known = btf.sizeOf(types[field]);
      if (numbers[size] !== 0 && numbers[size] !== known) {
        throw new BtfError(`map ${name}: ${size} ${numbers[size]} but ${field} has ${known} bytes`);
      }
      numbers[size] = known;
    } else if (field === 'map_extra') {
      extra = numberOf(name, field, member.typeId, btf);
    } else if (field === 'values' && !isInner) {
      const array = btf.resolved(member.typeId);
      if (array.kind !== 'array') throw new BtfError(`map ${name}: values is not an array`);
      const element = btf.resolved(pointedTo(name, field, array.elementTypeId, btf));
      if (element.kind === 'struct') inner = readMap(`${name}.inner`, element, btf, true).spec;
      else if (element.kind !== 'func_proto') {
        throw new BtfError(`map ${name}: values are neither maps nor functions`);
      }
      numbers.value_size = 4;
      valuesOffset = member.bitOffset / 8;
    } else {
      throw new BtfError(`map ${name}: unknown field ${field}`);
    }
  }
  const spec: MapSpec = {
    name,
    type: numbers.type,
    keySize: numbers.key_size,
    valueSize: numbers.value_size,
    maxEntries: numbers.max_entries,
    flags: numbers.map_flags,
    keyTypeId: types.key,
    valueTypeId: types.value,
    extra,
    pinByName: numbers.pinning === LIBBPF_PIN_BY_NAME,
    inner,
    initial: [],
    contents: undefined,
    readOnly: false,
  };
  return { spec, valuesOffset };
}

/** Returns N of `int (*field)[N]`, or the only value of an enum, for numbers of more than 32 bits. */
function numberOf(map: string, field: string, typeId: number, btf: Btf): bigint {
  const type = btf.resolved(typeId);
  if ((type.kind === 'enum' || type.kind === 'enum64') && type.values.length === 1) {
    return BigInt.asUintN(64, type.values[0]!.value);
  }
  const array = type.kind === 'ptr' ? btf.resolved(type.typeId) : type;
  if (type.kind !== 'ptr' || array.kind !== 'array') {
    throw new BtfError(`map ${map}: ${field} is not a pointer to an array`);
  }
  return BigInt(array.count);
}

function pointedTo(map: string, field: string, typeId: number, btf: Btf): number {
  const type: BtfType = btf.resolved(typeId);
  if (type.kind !== 'ptr') throw new BtfError(`map ${map}: ${field} is not a pointer`);
  return type.typeId;
}

/** Returns the elements that the initializer of `values` names, from its relocations. */
function initialElements(
  elf: ElfFile,
  section: ElfSection,
  start: number,
  end: number,
  spec: MapSpec,
): InitialElement[] {
  const elements: InitialElement[] = [];
  for (const { offset, symbol } of elf.relocations.get(section.index) ?? []) {
    if (offset < start || offset >= end) continue;
    const index = (offset - start) / 8;
    if (!Number.isInteger(index) || symbol.name === '') {
      throw new ElfError(`map ${spec.name}: an initial element names no symbol`);
    }
    elements.push({ index, name: symbol.name });
  }
  return elements;
}
