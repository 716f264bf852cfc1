import { decodeCString } from '@heddle/sys';

/** An object file that can't be used. The message names the part that is wrong. */
export class ElfError extends Error {
  override readonly name = 'ElfError';

  readonly reason: string;

  /** `file` is the name of the object file, when the caller knows it. */
  constructor(reason: string, file?: string, options?: ErrorOptions) {
    super(`read object${file === undefined ? '' : ` ${file}`}: ${reason}`, options);
    this.reason = reason;
  }
}

// Names and numbers are those of elf(5) and linux/elf-em.h.
const ET_REL = 1;
const EM_BPF = 247;
const SHT_SYMTAB = 2;
export const SHT_NOBITS = 8;
const SHT_REL = 9;
const SHT_RELA = 4;
export const SHF_ALLOC = 2;
export const SHF_EXECINSTR = 4;
export const SHN_UNDEF = 0;
export const STT_OBJECT = 1;
export const STT_FUNC = 2;
export const STT_SECTION = 3;
export const STB_LOCAL = 0;
export const STB_WEAK = 2;
export const STV_DEFAULT = 0;
export const STV_PROTECTED = 3;

export interface ElfSection {
  readonly index: number;
  readonly name: string;
  readonly type: number;
  /** SHF_* that fit into 32 bits. */
  readonly flags: number;
  /** Bytes in memory; `bytes` is empty for a section without bytes in the file (SHT_NOBITS). */
  readonly size: number;
  readonly bytes: Uint8Array;
  readonly info: number;
}

export interface ElfSymbol {
  readonly name: string;
  /** STT_*, STB_* and STV_*. */
  readonly type: number;
  readonly binding: number;
  readonly visibility: number;
  /** Index of the section that defines it; 0 for one that is only declared. */
  readonly section: number;
  /** Byte offset in its section. */
  readonly value: number;
  readonly size: number;
}

export interface ElfRelocation {
  /** Byte offset in the section that it changes. */
  readonly offset: number;
  readonly type: number;
  readonly symbol: ElfSymbol;
}

export interface ElfFile {
  readonly sections: readonly ElfSection[];
  readonly symbols: readonly ElfSymbol[];
  /** Relocations by the index of the section that they change, in the file's order. */
  readonly relocations: ReadonlyMap<number, readonly ElfRelocation[]>;
}

/**
 * Reads a 64-bit little-endian relocatable BPF file (`clang -target bpf`). Section bytes are views
 * of `bytes`. Throws ElfError.
 */
export function readElf(bytes: Uint8Array): ElfFile {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 64 || view.getUint32(0, false) !== 0x7f454c46) {
    throw new ElfError('not an ELF file');
  }
  if (bytes[4] !== 2) throw new ElfError('not a 64-bit ELF file');
  if (bytes[5] !== 1) {
    throw new ElfError('not little-endian (compile with -target bpf or bpfel)');
  }
  if (view.getUint16(16, true) !== ET_REL || view.getUint16(18, true) !== EM_BPF) {
    throw new ElfError('not a relocatable BPF object (compile with clang -target bpf -c)');
  }
  const headers = readSectionHeaders(bytes, view);
  const sections = nameSections(headers, view.getUint16(62, true));
  const table = headers.find((header) => header.type === SHT_SYMTAB);
  const symbols = table === undefined ? [] : readSymbols(table, headers);
  return { sections, symbols, relocations: readRelocations(headers, table, symbols, bytes.length) };
}

interface SectionHeader extends Omit<ElfSection, 'name'> {
  readonly nameOffset: number;
  readonly link: number;
}

function readSectionHeaders(bytes: Uint8Array, view: DataView): SectionHeader[] {
  const start = offsetAt(view, 40, 'section header table');
  const entrySize = view.getUint16(58, true);
  const count = view.getUint16(60, true);
  if (entrySize !== 64) throw new ElfError(`section headers of ${entrySize} bytes, want 64`);
  if (start + count * 64 > bytes.length) {
    throw new ElfError('section header table lies beyond the end of the file');
  }
  const headers: SectionHeader[] = [];
  for (let index = 0; index < count; index++) {
    const at = start + index * 64;
    const type = view.getUint32(at + 4, true);
    const size = offsetAt(view, at + 32, `size of section ${index}`);
    const hasBytes = type !== SHT_NOBITS && index !== 0;
    const offset = hasBytes ? offsetAt(view, at + 24, `offset of section ${index}`) : 0;
    if (hasBytes && offset + size > bytes.length) {
      throw new ElfError(`section ${index} lies beyond the end of the file`);
    }
    headers.push({
      index,
      nameOffset: view.getUint32(at, true),
      type,
      flags: view.getUint32(at + 8, true),
      size,
      bytes: hasBytes ? bytes.subarray(offset, offset + size) : bytes.subarray(0, 0),
      link: view.getUint32(at + 40, true),
      info: view.getUint32(at + 44, true),
    });
  }
  return headers;
}

/** Returns a 64-bit offset or size as a number. Throws ElfError for one that no file can have. */
function offsetAt(view: DataView, at: number, what: string): number {
  const high = view.getUint32(at + 4, true);
  if (high > 0xffff) throw new ElfError(`${what} is out of range`);
  return high * 2 ** 32 + view.getUint32(at, true);
}

function nameSections(headers: readonly SectionHeader[], stringsIndex: number): ElfSection[] {
  const strings = headers[stringsIndex];
  if (strings === undefined) throw new ElfError('no section name table');
  return headers.map(({ nameOffset, link: _link, ...section }) => ({
    ...section,
    name: stringAt(strings.bytes, nameOffset, `name of section ${section.index}`),
  }));
}

/** Names may share bytes, so that the sum of their lengths can exceed the file: each has a limit. */
const longestName = 4096;

function stringAt(strings: Uint8Array, offset: number, what: string): string {
  if (offset === 0) return '';
  if (offset >= strings.length) throw new ElfError(`${what} lies beyond its string table`);
  const bytes = strings.subarray(offset, offset + longestName + 1);
  if (bytes.length > longestName && bytes.indexOf(0) < 0) {
    throw new ElfError(`${what} is longer than ${longestName} bytes`);
  }
  return decodeCString(bytes);
}

function readSymbols(table: SectionHeader, headers: readonly SectionHeader[]): ElfSymbol[] {
  const strings = headers[table.link];
  if (strings === undefined) throw new ElfError('symbol table without a string table');
  const view = new DataView(table.bytes.buffer, table.bytes.byteOffset, table.bytes.byteLength);
  const symbols: ElfSymbol[] = [];
  for (let at = 0; at + 24 <= table.bytes.length; at += 24) {
    const index = symbols.length;
    const info = table.bytes[at + 4]!;
    symbols.push({
      name: stringAt(strings.bytes, view.getUint32(at, true), `name of symbol ${index}`),
      type: info & 15,
      binding: info >> 4,
      visibility: table.bytes[at + 5]! & 3,
      section: view.getUint16(at + 6, true),
      value: offsetAt(view, at + 8, `value of symbol ${index}`),
      size: offsetAt(view, at + 16, `size of symbol ${index}`),
    });
  }
  return symbols;
}

function readRelocations(
  headers: readonly SectionHeader[],
  table: SectionHeader | undefined,
  symbols: readonly ElfSymbol[],
  fileSize: number,
): Map<number, ElfRelocation[]> {
  const relocations = new Map<number, ElfRelocation[]>();
  let left = fileSize;
  for (const header of headers) {
    if (header.type === SHT_RELA) {
      throw new ElfError(`section ${header.index} holds relocations with addends, which BPF lacks`);
    }
    if (header.type !== SHT_REL) continue;
    if (header.link !== table?.index || headers[header.info] === undefined) {
      throw new ElfError(`relocation section ${header.index} names no symbol table or target`);
    }
    const view = new DataView(header.bytes.buffer, header.bytes.byteOffset, header.bytes.length);
    left -= header.bytes.length;
    if (left < 0) throw new ElfError('relocation sections share bytes');
    const list: ElfRelocation[] = [];
    for (let at = 0; at + 16 <= header.bytes.length; at += 16) {
      const symbol = symbols[view.getUint32(at + 12, true)];
      const where = `relocation ${list.length} of section ${header.index}`;
      if (symbol === undefined) throw new ElfError(`${where} names no symbol`);
      const offset = offsetAt(view, at, `offset of ${where}`);
      list.push({ offset, type: view.getUint32(at + 8, true), symbol });
    }
    relocations.set(header.info, list);
  }
  return relocations;
}
