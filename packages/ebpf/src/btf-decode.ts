import { BtfKind, type BtfMember, type BtfType, btfKindNames } from './btf-types.ts';

const INT_SIGNED = 1;
const INT_CHAR = 2;
const INT_BOOL = 4;

/**
 * Decodes the type that starts at word `at`. The scan in btf.ts has checked that all of its words
 * exist. For missing strings `strings.string` throws.
 */
export function decodeType(
  id: number,
  words: Uint32Array,
  at: number,
  strings: { string(offset: number): string },
): BtfType {
  const name = strings.string(words[at]!);
  const info = words[at + 1]!;
  const flag = info >>> 31 !== 0;
  const count = info & 0xffff;
  const sizeOrType = words[at + 2]!;
  const body = at + 3;
  const kind = (info >>> 24) & 0x1f;
  switch (kind) {
    case BtfKind.int: {
      const word = words[body]!;
      const encoding = (word >>> 24) & 15;
      return {
        id,
        kind: 'int',
        name,
        size: sizeOrType,
        bits: word & 0xff,
        bitOffset: (word >>> 16) & 0xff,
        signed: (encoding & INT_SIGNED) !== 0,
        char: (encoding & INT_CHAR) !== 0,
        bool: (encoding & INT_BOOL) !== 0,
      };
    }
    case BtfKind.array: {
      const [elementTypeId, indexTypeId, length] = words.subarray(body, body + 3);
      return {
        id,
        kind: 'array',
        name,
        elementTypeId: elementTypeId!,
        indexTypeId: indexTypeId!,
        count: length!,
      };
    }
    case BtfKind.struct:
    case BtfKind.union:
      return {
        id,
        kind: kind === BtfKind.struct ? 'struct' : 'union',
        name,
        size: sizeOrType,
        members: decodeMembers(words, body, count, flag, strings),
      };
    case BtfKind.enum:
      return {
        id,
        kind: 'enum',
        name,
        size: sizeOrType,
        signed: flag,
        values: entries(count, (i) => {
          const value = words[body + 2 * i + 1]!;
          return {
            name: strings.string(words[body + 2 * i]!),
            value: BigInt(flag ? value | 0 : value),
          };
        }),
      };
    case BtfKind.enum64:
      return {
        id,
        kind: 'enum64',
        name,
        size: sizeOrType,
        signed: flag,
        values: entries(count, (i) => {
          const word = body + 3 * i;
          const value = BigInt(words[word + 1]!) | (BigInt(words[word + 2]!) << 32n);
          return {
            name: strings.string(words[word]!),
            value: flag ? BigInt.asIntN(64, value) : value,
          };
        }),
      };
    case BtfKind.fwd:
      return { id, kind: 'fwd', name, union: flag };
    case BtfKind.ptr:
    case BtfKind.typedef:
    case BtfKind.volatile:
    case BtfKind.const:
    case BtfKind.restrict:
    case BtfKind.type_tag:
      return {
        id,
        kind: btfKindNames[kind] as 'ptr' | 'typedef' | 'volatile' | 'const' | 'restrict',
        name,
        typeId: sizeOrType,
      };
    case BtfKind.func:
      return { id, kind: 'func', name, typeId: sizeOrType, linkage: count };
    case BtfKind.func_proto:
      return {
        id,
        kind: 'func_proto',
        name,
        returnTypeId: sizeOrType,
        parameters: entries(count, (i) => ({
          name: strings.string(words[body + 2 * i]!),
          typeId: words[body + 2 * i + 1]!,
        })),
      };
    case BtfKind.var:
      return { id, kind: 'var', name, typeId: sizeOrType, linkage: words[body]! };
    case BtfKind.datasec:
      return {
        id,
        kind: 'datasec',
        name,
        size: sizeOrType,
        entries: entries(count, (i) => ({
          typeId: words[body + 3 * i]!,
          offset: words[body + 3 * i + 1]!,
          size: words[body + 3 * i + 2]!,
        })),
      };
    case BtfKind.float:
      return { id, kind: 'float', name, size: sizeOrType };
    default:
      return { id, kind: 'decl_tag', name, typeId: sizeOrType, component: words[body]! | 0 };
  }
}

function decodeMembers(
  words: Uint32Array,
  body: number,
  count: number,
  hasBitFields: boolean,
  strings: { string(offset: number): string },
): BtfMember[] {
  return entries(count, (i) => {
    const offset = words[body + 3 * i + 2]!;
    return {
      name: strings.string(words[body + 3 * i]!),
      typeId: words[body + 3 * i + 1]!,
      // With kind_flag set, the upper byte is the width of a bit field.
      bitOffset: hasBitFields ? offset & 0xffffff : offset,
      bitSize: hasBitFields ? offset >>> 24 : 0,
    };
  });
}

function entries<T>(count: number, make: (index: number) => T): T[] {
  const list: T[] = [];
  for (let i = 0; i < count; i++) list.push(make(i));
  return list;
}
