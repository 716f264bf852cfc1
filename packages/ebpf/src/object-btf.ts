import { Btf } from './btf.ts';
import { BtfKind, LINKAGE_EXTERN, LINKAGE_GLOBAL, LINKAGE_STATIC } from './btf-types.ts';
import { type ElfFile, STB_LOCAL, STT_FUNC, STV_DEFAULT, STV_PROTECTED } from './elf.ts';

/**
 * Reads `.BTF` of an object and sets the values that clang leaves to a linker: sizes of data sections and
 * offsets of the variables in them. Functions that are hidden from other objects become static, so
 * that the verifier checks them with their callers. Returns undefined without `.BTF`. Throws BtfError.
 */
export function readObjectBtf(elf: ElfFile): Btf | undefined {
  const section = elf.sections.find((candidate) => candidate.name === '.BTF');
  if (section === undefined) return undefined;
  const bytes = section.bytes.slice();
  const view = new DataView(bytes.buffer);
  for (const { offset, symbol } of elf.relocations.get(section.index) ?? []) {
    if (symbol.value === 0 || offset + 4 > bytes.length) continue;
    view.setUint32(offset, view.getUint32(offset, true) + symbol.value, true);
  }
  const btf = Btf.parse(bytes);
  const hidden = new Set<string>();
  for (const { name, type, binding, visibility } of elf.symbols) {
    const visible = visibility === STV_DEFAULT || visibility === STV_PROTECTED;
    if (type === STT_FUNC && binding !== STB_LOCAL && !visible) hidden.add(name);
  }
  const sizes = new Map(elf.sections.map(({ name, size }) => [name, size]));
  for (let id = btf.firstId; id < btf.endId; id++) {
    const kind = btf.kindOf(id);
    if (kind === BtfKind.datasec) fixSection(btf, id, view, sizes);
    else if (kind === BtfKind.func && hidden.has(btf.nameOf(id))) {
      const type = btf.typeById(id);
      if (type.kind === 'func' && type.linkage === LINKAGE_GLOBAL) {
        setInfo(view, btf.byteOffset(id), BtfKind.func, LINKAGE_STATIC);
      }
    }
  }
  return Btf.parse(bytes);
}

function fixSection(
  btf: Btf,
  id: number,
  view: DataView,
  sizes: ReadonlyMap<string, number>,
): void {
  const type = btf.typeById(id);
  if (type.kind !== 'datasec') return;
  const at = btf.byteOffset(id);
  if (type.size === 0) view.setUint32(at + 8, sizes.get(type.name) ?? 0, true);
  const sorted = [...type.entries].sort((a, b) => a.offset - b.offset);
  for (const [i, entry] of sorted.entries()) {
    view.setUint32(at + 12 + 12 * i, entry.typeId, true);
    view.setUint32(at + 16 + 12 * i, entry.offset, true);
    view.setUint32(at + 20 + 12 * i, entry.size, true);
  }
}

function setInfo(view: DataView, at: number, kind: number, count: number): void {
  view.setUint32(at + 4, (kind << 24) | count, true);
}

/**
 * Returns the BTF of an object as bytes for BPF_BTF_LOAD. The kernel accepts no declarations of kernel
 * symbols, so they are replaced. Type ids stay the same.
 */
export function btfForKernel(btf: Btf): Uint8Array {
  const source = new DataView(btf.bytes.buffer, btf.bytes.byteOffset, btf.bytes.byteLength);
  const strings = btf.strings;
  // A replacement is never longer than the original.
  const result = new Uint8Array(24 + btf.typesLength + strings.length);
  const view = new DataView(result.buffer);
  const named = namedParameters(btf);
  const replaced = new Set<number>();
  let end = 24;
  const put = (...words: readonly number[]) => {
    for (const word of words) {
      view.setUint32(end, word, true);
      end += 4;
    }
  };
  for (let id = btf.firstId; id < btf.endId; id++) {
    const at = btf.byteOffset(id);
    const type = btf.typeById(id);
    if (type.kind === 'datasec' && (type.name === '.ksyms' || type.size === 0)) {
      // An empty struct without a name.
      put(0, BtfKind.struct << 24, 0);
    } else if (type.kind === 'var' && type.linkage === LINKAGE_EXTERN) {
      put(0, BtfKind.ptr << 24, type.typeId);
      replaced.add(id);
    } else if (type.kind === 'func' && type.linkage === LINKAGE_EXTERN) {
      put(source.getUint32(at, true), (BtfKind.func << 24) | LINKAGE_GLOBAL, type.typeId);
    } else if (type.kind === 'decl_tag' && replaced.has(type.typeId)) {
      put(0, BtfKind.ptr << 24, 0);
    } else {
      const start = end;
      const length = btf.byteLength(id);
      result.set(btf.bytes.subarray(at, at + length), start);
      end += length;
      const nameOffset = named.get(id);
      if (type.kind === 'func_proto' && nameOffset !== undefined) {
        for (const [i, parameter] of type.parameters.entries()) {
          if (parameter.name === '' && parameter.typeId !== 0) {
            view.setUint32(start + 12 + 8 * i, nameOffset, true);
          }
        }
      }
    }
  }
  result.set(strings, end);
  view.setUint32(0, 0x0001eb9f, true);
  view.setUint32(4, 24, true);
  view.setUint32(12, end - 24, true);
  view.setUint32(16, end - 24, true);
  view.setUint32(20, strings.length, true);
  return result.slice(0, end + strings.length);
}

/**
 * Returns the prototypes of declared functions with the string offset of the function's name. Parameters
 * need no name in C, but the kernel requires one, and this one serves.
 */
function namedParameters(btf: Btf): Map<number, number> {
  const named = new Map<number, number>();
  const view = new DataView(btf.bytes.buffer, btf.bytes.byteOffset, btf.bytes.byteLength);
  for (let id = btf.firstId; id < btf.endId; id++) {
    if (btf.kindOf(id) !== BtfKind.func) continue;
    const type = btf.typeById(id);
    if (type.kind !== 'func' || type.linkage !== LINKAGE_EXTERN) continue;
    named.set(type.typeId, view.getUint32(btf.byteOffset(id), true));
  }
  return named;
}
