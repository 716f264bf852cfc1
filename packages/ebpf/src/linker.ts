import type { Btf } from './btf.ts';
import type { SectionExt } from './btf-ext.ts';
import {
  ElfError,
  type ElfFile,
  type ElfRelocation,
  type ElfSection,
  SHF_EXECINSTR,
  SHN_UNDEF,
  STB_LOCAL,
  STB_WEAK,
  STT_FUNC,
} from './elf.ts';
import { sectionMeaning } from './section-names.ts';
import type { CoreRelocation, FunctionInfo, LineInfo, ProgramSpec, Reference } from './spec.ts';

// Relocation types of the BPF psABI (Documentation/bpf/llvm_reloc.rst).
const R_BPF_64_64 = 1;
const R_BPF_64_32 = 10;

const slotSize = 8;
const LD_IMM64 = 0x18;
const CALL = 0x85;
const BPF_PSEUDO_CALL = 1;

/** The number of instructions that the kernel accepts in one program. */
const maxSlots = 1_000_000;

interface CodeFunction {
  readonly name: string;
  readonly section: ElfSection;
  /** The offset within the section, in 8-byte slots. */
  readonly start: number;
  readonly count: number;
  /** True if the symbol is global: such a function can be a program. */
  readonly global: boolean;
}

/** The targets of references besides functions. */
export interface LinkTargets {
  readonly btf: Btf | undefined;
  readonly ext: ReadonlyMap<string, SectionExt>;
  /** Returns the name of the map that is defined at this offset of `.maps`. */
  mapAt(offset: number): string | undefined;
  isData(section: ElfSection): boolean;
  /** Kernel symbols that the object declares (`.ksyms`). */
  readonly kernelSymbols: ReadonlySet<string>;
}

/**
 * Joins each program with the functions that it calls or takes the address of. Programs are the global
 * functions outside `.text`. Throws ElfError.
 */
export function linkPrograms(elf: ElfFile, targets: LinkTargets): Map<string, ProgramSpec> {
  const linker = new Linker(elf, targets);
  const programs = new Map<string, ProgramSpec>();
  for (const entry of linker.functions) {
    if (!entry.global || entry.section.name === '.text') continue;
    if (programs.has(entry.name)) throw new ElfError(`two programs are named ${entry.name}`);
    programs.set(entry.name, linker.link(entry));
  }
  return programs;
}

class Linker {
  readonly functions: readonly CodeFunction[];
  readonly #byStart = new Map<string, CodeFunction>();
  readonly #relocations = new Map<number, Map<number, ElfRelocation>>();
  readonly #elf: ElfFile;
  readonly #targets: LinkTargets;

  constructor(elf: ElfFile, targets: LinkTargets) {
    this.#elf = elf;
    this.#targets = targets;
    this.functions = findFunctions(elf);
    for (const code of this.functions) {
      this.#byStart.set(`${code.section.index}:${code.start}`, code);
    }
    for (const [section, relocations] of elf.relocations) {
      if (!isCode(elf.sections[section]!)) continue;
      const bySlot = new Map<number, ElfRelocation>();
      for (const relocation of relocations) bySlot.set(relocation.offset / slotSize, relocation);
      this.#relocations.set(section, bySlot);
    }
  }

  link(entry: CodeFunction): ProgramSpec {
    // The start of each function in the program. A function is appended at the first reference to it.
    const bases = new Map<CodeFunction, number>([[entry, 0]]);
    let total = entry.count;
    const baseOf = (code: CodeFunction) => {
      let base = bases.get(code);
      if (base === undefined) {
        base = total;
        total += code.count;
        if (total > maxSlots) throw new ElfError(`program ${entry.name} is too large`);
        bases.set(code, base);
      }
      return base;
    };
    const pieces: Uint8Array[] = [];
    const references: Reference[] = [];
    // The iterator of a Map includes entries that are added meanwhile.
    for (const [code, base] of bases) pieces.push(this.#place(code, base, baseOf, references));
    const instructions = new Uint8Array(total * slotSize);
    let at = 0;
    for (const piece of pieces) {
      instructions.set(piece, at);
      at += piece.length;
    }
    return {
      name: entry.name,
      section: entry.section.name,
      ...sectionMeaning(entry.section.name),
      instructions,
      references,
      ...this.#annotations(bases),
    };
  }

  /** Returns the instructions of a function, with calls relative to its place in the program. */
  #place(
    code: CodeFunction,
    base: number,
    baseOf: (code: CodeFunction) => number,
    references: Reference[],
  ): Uint8Array {
    const start = code.start * slotSize;
    const bytes = code.section.bytes.slice(start, start + code.count * slotSize);
    const view = new DataView(bytes.buffer);
    const relocations = this.#relocations.get(code.section.index);
    for (let slot = 0; slot < code.count; slot++) {
      const opcode = bytes[slot * slotSize]!;
      const relocation = relocations?.get(code.start + slot);
      const immediate = view.getInt32(slot * slotSize + 4, true);
      if (opcode === LD_IMM64) {
        if (slot + 1 >= code.count) {
          throw new ElfError(`function ${code.name} ends within an instruction`);
        }
        if (relocation !== undefined) {
          references.push(this.#reference(code, base + slot, relocation, immediate, baseOf));
          view.setInt32(slot * slotSize + 4, 0, true);
        }
        slot++;
      } else if (opcode === CALL && bytes[slot * slotSize + 1]! >> 4 === BPF_PSEUDO_CALL) {
        const symbol = relocation?.symbol;
        if (symbol?.section === SHN_UNDEF) {
          const name = this.#kernelSymbol(code, symbol.name);
          const weak = symbol.binding === STB_WEAK;
          references.push({ kind: 'kfunc', at: base + slot, name, weak });
          continue;
        }
        const callee = this.#callee(code, slot, relocation, immediate);
        // Relative to the instruction that follows the call.
        view.setInt32(slot * slotSize + 4, baseOf(callee) - (base + slot) - 1, true);
      } else if (relocation !== undefined) {
        throw new ElfError(
          `function ${code.name} refers to ${relocation.symbol.name} in an instruction that can't`,
        );
      }
    }
    return bytes;
  }

  #callee(
    code: CodeFunction,
    slot: number,
    relocation: ElfRelocation | undefined,
    immediate: number,
  ): CodeFunction {
    if (relocation === undefined) {
      return this.#functionAt(code, code.section.index, code.start + slot + immediate + 1);
    }
    if (relocation.type !== R_BPF_64_32) throw badRelocation(code, relocation);
    const { section, value } = relocation.symbol;
    return this.#functionAt(code, section, value / slotSize + immediate + 1);
  }

  #functionAt(from: CodeFunction, section: number, start: number): CodeFunction {
    const code = this.#byStart.get(`${section}:${start}`);
    if (code === undefined) {
      throw new ElfError(`function ${from.name} calls an address where no function starts`);
    }
    return code;
  }

  #reference(
    code: CodeFunction,
    at: number,
    relocation: ElfRelocation,
    addend: number,
    baseOf: (code: CodeFunction) => number,
  ): Reference {
    if (relocation.type !== R_BPF_64_64) throw badRelocation(code, relocation);
    const { symbol } = relocation;
    if (symbol.section === SHN_UNDEF) {
      const name = this.#kernelSymbol(code, symbol.name);
      return { kind: 'ksym', at, name, weak: symbol.binding === STB_WEAK };
    }
    const section = this.#elf.sections[symbol.section];
    const offset = symbol.value + addend;
    if (section !== undefined && isCode(section)) {
      const target = baseOf(this.#functionAt(code, section.index, offset / slotSize));
      return { kind: 'function', at, target };
    }
    if (section?.name === '.maps') {
      const map = this.#targets.mapAt(offset);
      if (map !== undefined) return { kind: 'map', at, map };
    } else if (section !== undefined && this.#targets.isData(section)) {
      return { kind: 'data', at, map: section.name, offset };
    }
    throw new ElfError(
      `function ${code.name} refers to ${symbol.name || 'something'} in section ` +
        `${section?.name ?? symbol.section}, which holds neither maps nor data`,
    );
  }

  #kernelSymbol(code: CodeFunction, name: string): string {
    if (this.#targets.kernelSymbols.has(name)) return name;
    throw new ElfError(
      `function ${code.name} uses ${name}, which is not defined ` +
        '(declare a kernel symbol with __ksym; BPF has no library functions)',
    );
  }

  #annotations(bases: ReadonlyMap<CodeFunction, number>) {
    const { btf, ext } = this.#targets;
    const functions: FunctionInfo[] = [];
    const lines: LineInfo[] = [];
    const relocations: CoreRelocation[] = [];
    for (const [code, base] of bases) {
      const section = ext.get(code.section.name);
      if (section === undefined || btf === undefined) continue;
      const shift = base - code.start;
      const from = code.start * slotSize;
      const to = from + code.count * slotSize;
      for (const { offset, typeId } of within(section.functions, from, to)) {
        functions.push({ at: offset / slotSize + shift, typeId });
      }
      for (const record of within(section.lines, from, to)) {
        const { offset, fileOffset, textOffset, line, column } = record;
        lines.push({
          at: offset / slotSize + shift,
          file: btf.string(fileOffset),
          text: btf.string(textOffset),
          line,
          column,
          fileOffset,
          textOffset,
        });
      }
      for (const { offset, typeId, access, kind } of within(section.relocations, from, to)) {
        relocations.push({ at: offset / slotSize + shift, typeId, access, kind });
      }
    }
    // The kernel requires a record and a first line for each function, or none at all.
    const starts = new Set(lines.map((line) => line.at));
    const complete = [...bases.values()].every((base) => starts.has(base));
    return {
      relocations,
      functions: functions.length === bases.size ? functions : [],
      lines: complete ? lines : [],
    };
  }
}

function badRelocation(code: CodeFunction, relocation: ElfRelocation): ElfError {
  return new ElfError(`function ${code.name} has a relocation of type ${relocation.type}`);
}

function isCode(section: ElfSection): boolean {
  return (section.flags & SHF_EXECINSTR) !== 0 && section.bytes.length > 0;
}

/** Returns the functions of all code sections, ordered by section and start. */
function findFunctions(elf: ElfFile): CodeFunction[] {
  const functions: CodeFunction[] = [];
  for (const { name, type, binding, section: home, value, size } of elf.symbols) {
    const section = elf.sections[home];
    if (type !== STT_FUNC || section === undefined || !isCode(section)) continue;
    if (value % slotSize !== 0 || size % slotSize !== 0 || size === 0) {
      throw new ElfError(`function ${name} is not made of whole instructions`);
    }
    if (value + size > section.bytes.length) {
      throw new ElfError(`function ${name} lies beyond section ${section.name}`);
    }
    functions.push({
      name,
      section,
      start: value / slotSize,
      count: size / slotSize,
      global: binding !== STB_LOCAL,
    });
  }
  functions.sort((a, b) => a.section.index - b.section.index || a.start - b.start);
  for (let i = 1; i < functions.length; i++) {
    const [before, code] = [functions[i - 1]!, functions[i]!];
    if (before.section === code.section && before.start + before.count > code.start) {
      throw new ElfError(`functions ${before.name} and ${code.name} overlap`);
    }
  }
  return functions;
}

/** Returns the records, in ascending order of offset, of a range of a section. */
function within<T extends { readonly offset: number }>(
  records: readonly T[],
  from: number,
  to: number,
): readonly T[] {
  return records.slice(firstAt(records, from), firstAt(records, to));
}

function firstAt(records: readonly { readonly offset: number }[], offset: number): number {
  let low = 0;
  let high = records.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (records[middle]!.offset < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}
