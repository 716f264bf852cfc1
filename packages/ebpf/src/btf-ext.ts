import { type Btf, BtfError } from './btf.ts';

/** One record of `.BTF.ext`; `offset` is the byte offset of its instruction in the section. */
export interface ExtFunction {
  readonly offset: number;
  readonly typeId: number;
}

export interface ExtLine {
  readonly offset: number;
  /** String offsets in the BTF. */
  readonly fileOffset: number;
  readonly textOffset: number;
  readonly line: number;
  readonly column: number;
}

export interface ExtRelocation {
  readonly offset: number;
  readonly typeId: number;
  readonly access: string;
  readonly kind: number;
}

/** The records of `.BTF.ext` for one code section, in ascending order of offset. */
export interface SectionExt {
  readonly functions: ExtFunction[];
  readonly lines: ExtLine[];
  readonly relocations: ExtRelocation[];
}

/**
 * Reads a `.BTF.ext` section (Documentation/bpf/btf.rst): function and line information and CO-RE
 * relocations by code section name. Throws BtfError.
 */
export function readBtfExt(bytes: Uint8Array, btf: Btf): Map<string, SectionExt> {
  if (bytes.length < 24) throw new BtfError('.BTF.ext is shorter than its header');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint16(0, true) !== 0xeb9f) throw new BtfError('no magic at the start of .BTF.ext');
  if (bytes[2] !== 1) throw new BtfError(`.BTF.ext has version ${bytes[2]}, want 1`);
  const header = view.getUint32(4, true);
  const sections = new Map<string, SectionExt>();
  const read = (field: number, what: keyof SectionExt, recordSize: number, add: AddRecord) => {
    if (header < field + 8) return;
    const start = header + view.getUint32(field, true);
    const length = view.getUint32(field + 4, true);
    if (length === 0) return;
    if (start + length > bytes.length) throw new BtfError(`${what} lie beyond .BTF.ext`);
    const part = new DataView(view.buffer, view.byteOffset + start, length);
    eachRecord(part, what, recordSize, btf, (section, at) => {
      let ext = sections.get(section);
      if (ext === undefined) {
        ext = { functions: [], lines: [], relocations: [] };
        sections.set(section, ext);
      }
      add(ext, part, at);
    });
  };
  read(8, 'functions', 8, ({ functions }, part, at) => {
    functions.push({ offset: part.getUint32(at, true), typeId: part.getUint32(at + 4, true) });
  });
  read(16, 'lines', 16, ({ lines }, part, at) => {
    const position = part.getUint32(at + 12, true);
    lines.push({
      offset: part.getUint32(at, true),
      fileOffset: part.getUint32(at + 4, true),
      textOffset: part.getUint32(at + 8, true),
      line: position >>> 10,
      column: position & 0x3ff,
    });
  });
  read(24, 'relocations', 16, ({ relocations }, part, at) => {
    relocations.push({
      offset: part.getUint32(at, true),
      typeId: part.getUint32(at + 4, true),
      access: btf.string(part.getUint32(at + 8, true)),
      kind: part.getUint32(at + 12, true),
    });
  });
  for (const ext of sections.values()) {
    for (const list of [ext.functions, ext.lines, ext.relocations]) {
      list.sort((a, b) => a.offset - b.offset);
    }
  }
  return sections;
}

type AddRecord = (ext: SectionExt, part: DataView, at: number) => void;

/** Iterates over `record size, {section name, count, records}...`. Later versions may have longer records. */
function eachRecord(
  part: DataView,
  what: string,
  smallest: number,
  btf: Btf,
  visit: (section: string, at: number) => void,
): void {
  const end = part.byteLength;
  const recordSize = end < 4 ? 0 : part.getUint32(0, true);
  if (recordSize < smallest || recordSize % 4 !== 0) {
    throw new BtfError(`${what} in .BTF.ext have records of ${recordSize} bytes`);
  }
  for (let at = 4; at < end; ) {
    if (at + 8 > end) throw new BtfError(`${what} in .BTF.ext are cut off`);
    const section = btf.string(part.getUint32(at, true));
    const count = part.getUint32(at + 4, true);
    at += 8;
    if (at + count * recordSize > end) throw new BtfError(`${what} in .BTF.ext are cut off`);
    for (let i = 0; i < count; i++, at += recordSize) visit(section, at);
  }
}
