import type { Btf } from '@heddle/ebpf';
import { formatIp } from '@heddle/sys';

/** A value decoded by its type, for JSON: 64-bit integers beyond 2^53 are text. */
export type Decoded = string | number | boolean | null | readonly Decoded[] | DecodedFields;
export interface DecodedFields {
  readonly [field: string]: Decoded;
}

/** The number of elements of an array that are shown. */
const maxElements = 64;

/**
 * Decodes bytes by BTF. 16 bytes are an address, big-endian integers (`__be16`, ...) become numbers,
 * enums their names. Bytes that the type doesn't describe are given in hexadecimal.
 */
export function decodeValue(btf: Btf, typeId: number, bytes: Uint8Array): Decoded {
  return decodeAt(btf, typeId, bytes, 0);
}

function decodeAt(btf: Btf, typeId: number, bytes: Uint8Array, at: number): Decoded {
  const type = btf.resolved(typeId);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (type.kind) {
    case 'int':
      if (at + type.size > bytes.length) return null;
      return readInteger(view, at, type.size, type.signed, isBigEndian(btf, typeId));
    case 'enum':
    case 'enum64': {
      if (at + type.size > bytes.length) return null;
      return enumText(btf, typeId, Number(readInteger(view, at, type.size, type.signed, false)));
    }
    case 'array': {
      const size = btf.sizeOf(type.elementTypeId);
      const part = bytes.subarray(at, at + size * type.count);
      if (size === 1 && type.count === 16 && part.length === 16) return formatIp(part);
      if (size === 1) return hex(part);
      const count = Math.min(type.count, maxElements);
      return Array.from({ length: count }, (_, i) =>
        decodeAt(btf, type.elementTypeId, bytes, at + i * size),
      );
    }
    case 'struct':
    case 'union': {
      const fields: Record<string, Decoded> = {};
      for (const { name, typeId: member, bitOffset, bitSize } of type.members) {
        const byte = at + (bitOffset >> 3);
        if (name === '' || /^(reserved|secret)$/.test(name)) continue;
        if (bitSize === 0) {
          fields[name] = decodeAt(btf, member, bytes, byte);
          continue;
        }
        if (byte + (bitSize <= 8 ? 1 : 4) > bytes.length) continue;
        const word = bitSize <= 8 ? view.getUint8(byte) : view.getUint32(byte, true);
        const value = (word >>> (bitOffset & 7)) & (2 ** bitSize - 1);
        const isEnum = btf.resolved(member).kind === 'enum';
        fields[name] = isEnum ? enumText(btf, member, value) : value;
      }
      return fields;
    }
    default:
      return hex(bytes.subarray(at));
  }
}

/** Returns an enumerator's name, or the names of its bits, or the number. */
function enumText(btf: Btf, typeId: number, value: number): Decoded {
  const type = btf.resolved(typeId);
  if (type.kind !== 'enum' && type.kind !== 'enum64') return value;
  const exact = type.values.find((each) => Number(each.value) === value);
  if (exact) return exact.name;
  const bits = type.values.filter(
    (each) => Number(each.value) > 0 && (value & Number(each.value)) === Number(each.value),
  );
  const whole = bits.reduce((sum, each) => sum | Number(each.value), 0) === value;
  return bits.length > 0 && whole ? bits.map(({ name }) => name).join(' | ') : value;
}

/** Returns true if one of the typedefs of an integer is big-endian (`__be16`, ...). */
function isBigEndian(btf: Btf, typeId: number): boolean {
  for (let id = typeId; ; ) {
    const type = btf.typeById(id);
    if (/^__be(16|32|64)$/.test(type.name)) return true;
    if (type.kind === 'int' || !('typeId' in type)) return false;
    id = type.typeId;
  }
}

function readInteger(
  view: DataView,
  at: number,
  size: number,
  signed: boolean,
  bigEndian: boolean,
): number | string {
  switch (size) {
    case 1:
      return signed ? view.getInt8(at) : view.getUint8(at);
    case 2:
      return signed ? view.getInt16(at, !bigEndian) : view.getUint16(at, !bigEndian);
    case 4:
      return signed ? view.getInt32(at, !bigEndian) : view.getUint32(at, !bigEndian);
    default: {
      const value = signed ? view.getBigInt64(at, !bigEndian) : view.getBigUint64(at, !bigEndian);
      return Number.isSafeInteger(Number(value)) ? Number(value) : `${value}`;
    }
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
