import { encodeCString } from '@heddle/sys';

export interface SectionInput {
  readonly name: string;
  readonly bytes?: Uint8Array;
  /** SHT_* and SHF_*; by default bytes of the program, in memory. */
  readonly type?: number;
  readonly flags?: number;
  /** The size of a section without bytes in the file. */
  readonly size?: number;
}

export interface SymbolInput {
  readonly name: string;
  /** STT_* and STB_*; by default a global function. */
  readonly type?: number;
  readonly binding?: number;
  /** Index of an added section, from 1; 0 for a symbol that is only declared. */
  readonly section: number;
  readonly value?: number;
  readonly size?: number;
}

interface RelocationInput {
  readonly offset: number;
  readonly type: number;
  /** Index of an added symbol, from 1. */
  readonly symbol: number;
}

const SHT_PROGBITS = 1;
const SHT_SYMTAB = 2;
const SHT_STRTAB = 3;
const SHT_REL = 9;
const ALLOC_EXECUTE = 6;

/** Flags of a section with code, for `SectionInput`. */
export const code = { flags: ALLOC_EXECUTE };

/** Writes BPF object files by hand. */
export class ElfBuilder {
  readonly #sections: SectionInput[] = [];
  readonly #symbols: SymbolInput[] = [];
  readonly #relocations = new Map<number, RelocationInput[]>();

  section(input: SectionInput): number {
    return this.#sections.push(input);
  }

  symbol(input: SymbolInput): number {
    return this.#symbols.push(input);
  }

  relocation(section: number, offset: number, type: number, symbol: number): void {
    const list = this.#relocations.get(section) ?? [];
    list.push({ offset, type, symbol });
    this.#relocations.set(section, list);
  }

  bytes(): Uint8Array {
    const strings: number[] = [0];
    const string = (text: string) => {
      const offset = strings.length;
      strings.push(...encodeCString(text));
      return offset;
    };
    const symbolsIndex = this.#sections.length + 1;
    const stringsIndex = symbolsIndex + 1;
    const headers: { name: number; type: number; bytes: Uint8Array; rest: readonly number[] }[] =
      [];
    const words = (count: number) => new DataView(new ArrayBuffer(count));
    for (const { name, bytes, type, flags, size } of this.#sections) {
      headers.push({
        name: string(name),
        type: type ?? SHT_PROGBITS,
        bytes: bytes ?? new Uint8Array(),
        rest: [flags ?? 2, size ?? bytes?.length ?? 0, 0, 0, 0],
      });
    }
    const table = words(24 * (this.#symbols.length + 1));
    for (const [i, symbol] of this.#symbols.entries()) {
      const at = 24 * (i + 1);
      table.setUint32(at, string(symbol.name), true);
      table.setUint8(at + 4, ((symbol.binding ?? 1) << 4) | (symbol.type ?? 2));
      table.setUint16(at + 6, symbol.section, true);
      table.setUint32(at + 8, symbol.value ?? 0, true);
      table.setUint32(at + 16, symbol.size ?? 0, true);
    }
    const bytesOf = (view: DataView) => new Uint8Array(view.buffer);
    headers.push({
      name: string('.symtab'),
      type: SHT_SYMTAB,
      bytes: bytesOf(table),
      rest: [0, table.byteLength, stringsIndex, 0, 24],
    });
    const relocations = [...this.#relocations].map(([section, list]) => {
      const view = words(16 * list.length);
      for (const [i, { offset, type, symbol }] of list.entries()) {
        view.setUint32(16 * i, offset, true);
        view.setUint32(16 * i + 8, type, true);
        view.setUint32(16 * i + 12, symbol, true);
      }
      return { section, view, name: string('.rel') };
    });
    const stringsName = string('.strtab');
    headers.push({
      name: stringsName,
      type: SHT_STRTAB,
      bytes: Uint8Array.from(strings),
      rest: [0, strings.length, 0, 0, 0],
    });
    for (const { section, view, name } of relocations) {
      headers.push({
        name,
        type: SHT_REL,
        bytes: bytesOf(view),
        rest: [0, view.byteLength, symbolsIndex, section, 16],
      });
    }
    return layOut(headers, stringsIndex);
  }
}

function layOut(
  headers: readonly { name: number; type: number; bytes: Uint8Array; rest: readonly number[] }[],
  stringsIndex: number,
): Uint8Array {
  const bodies = headers.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const table = 64 + bodies;
  const file = new Uint8Array(table + 64 * (headers.length + 1));
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 1, true);
  view.setUint16(18, 247, true);
  view.setUint32(40, table, true);
  view.setUint16(58, 64, true);
  view.setUint16(60, headers.length + 1, true);
  view.setUint16(62, stringsIndex, true);
  let offset = 64;
  for (const [i, { name, type, bytes, rest }] of headers.entries()) {
    const at = table + 64 * (i + 1);
    const [flags, size, link, info, entrySize] = rest;
    view.setUint32(at, name, true);
    view.setUint32(at + 4, type, true);
    view.setUint32(at + 8, flags!, true);
    view.setUint32(at + 24, offset, true);
    view.setUint32(at + 32, size!, true);
    view.setUint32(at + 40, link!, true);
    view.setUint32(at + 44, info!, true);
    view.setUint32(at + 56, entrySize!, true);
    file.set(bytes, offset);
    offset += bytes.length;
  }
  return file;
}
