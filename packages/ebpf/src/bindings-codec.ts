import { camelCase, pascalCase } from './bindings-names.ts';
import { type Btf, BtfError } from './btf.ts';
import type { BtfArray, BtfComposite, BtfEnum } from './btf-types.ts';

/** Receives each struct and enum that a codec needs; each gets a codec or constants of its own. */
export interface CodecNeeds {
  struct(type: BtfComposite, name: string): void;
  enum(type: BtfEnum, name: string): void;
}

/** Encodes and decodes one field, or one element of an array. */
interface Piece {
  /** TypeScript's type. */
  readonly type: string;
  readonly size: number;
  /** Returns a statement that writes `value` at `at` (an expression, relative to the struct). */
  encode(value: string, at: string, depth: number): string;
  /** Returns an expression that reads it. */
  decode(at: string, depth: number): string;
  readonly note?: string;
}

interface Field {
  readonly name: string;
  /** Bytes from the start of the struct. */
  readonly offset: number;
  readonly piece: Piece;
}

/** Returns the source of a struct's interface, size and codec; see `generateBindings`. */
export function codecSource(
  btf: Btf,
  struct: BtfComposite,
  name: string,
  needs: CodecNeeds,
): string {
  const fields = new Fields(btf, name, needs).of(struct, 0);
  const seen = new Set<string>();
  for (const field of fields) {
    if (seen.has(field.name)) throw new BtfError(`struct ${name} has two fields ${field.name}`);
    seen.add(field.name);
  }
  const [type, constant] = [pascalCase(name), camelCase(name)];
  const members = fields.map(({ name: field, piece }) => {
    const note = piece.note === undefined ? '' : `  /** ${piece.note} */\n`;
    return `${note}  readonly ${field}: ${piece.type};`;
  });
  const writes = fields.map(({ name: field, piece, offset }) =>
    piece.encode(`value.${field}`, String(offset), 0),
  );
  const zeroes = paddingOf(fields, struct.size).map(
    ([from, to]) => `  into.fill(0, ${place(from)}, ${place(to)});`,
  );
  const reads = fields.map(({ name: field, piece, offset }) => {
    return `    ${field}: ${piece.decode(String(offset), 0)},`;
  });
  const offsets = fields.map(({ name: field, offset }) => `    ${field}: ${offset},`);
  const usesView = (lines: readonly string[]) => lines.some((line) => line.includes('view.'));
  const view = (bytes: string) => `  const view = viewOf(${bytes}, offset, ${struct.size});`;
  const check = `  checkRoom(into, offset, ${struct.size});`;
  return `/** struct ${name} */
export interface ${type} {
${members.join('\n')}
}

export const ${constant}Size = ${struct.size};

export const ${constant}Codec = {
  size: ${struct.size},
  offsets: {
${offsets.join('\n')}
  },
  encode: encode${type},
  decode: decode${type},
} as const;

export function encode${type}(value: ${type}, into: Uint8Array, offset = 0): void {
${[usesView(writes) ? view('into') : check, ...writes, ...zeroes].join('\n')}
}

export function decode${type}(bytes: Uint8Array, offset = 0): ${type} {
${usesView(reads) ? `${view('bytes')}\n` : ''}  return {
${reads.join('\n')}
  };
}
`;
}

/** Returns the ranges of a struct that no field covers, `[from, to)`. */
function paddingOf(fields: readonly Field[], size: number): [number, number][] {
  const gaps: [number, number][] = [];
  let at = 0;
  for (const { offset, piece } of [...fields].sort((a, b) => a.offset - b.offset)) {
    if (offset < at) throw new BtfError(`fields overlap at byte ${offset}`);
    if (offset > at) gaps.push([at, offset]);
    at = offset + piece.size;
  }
  if (at < size) gaps.push([at, size]);
  return gaps;
}

/** Returns the expression for an offset in the caller's bytes, given one in the struct. */
function place(at: number | string): string {
  return at === 0 || at === '0' ? 'offset' : `offset + ${at}`;
}

const networkOrder = /^__be(16|32|64)$/;

class Fields {
  readonly #btf: Btf;
  readonly #owner: string;
  readonly #needs: CodecNeeds;

  constructor(btf: Btf, owner: string, needs: CodecNeeds) {
    this.#btf = btf;
    this.#owner = owner;
    this.#needs = needs;
  }

  /** Returns the fields of a struct, with those of structs without a name in it. */
  of(struct: BtfComposite, start: number): Field[] {
    return struct.members.flatMap((member): Field[] => {
      const what = `${this.#owner}.${member.name}`;
      const offset = start + member.bitOffset / 8;
      const wholeBytes = [0, 8, 16, 32, 64].includes(member.bitSize);
      if (!Number.isInteger(offset) || !wholeBytes) {
        throw new BtfError(`${what} is a bit field that is not a whole number of bytes`);
      }
      if (member.name === '') {
        const inner = this.#btf.resolved(member.typeId);
        // A bit field without a name is padding.
        if (inner.kind === 'int' || inner.kind === 'enum') return [];
        if (inner.kind !== 'struct')
          throw new BtfError(`${this.#owner} has a union without a name`);
        return this.of(inner, offset);
      }
      const piece = this.#piece(member.typeId, what, member.name, member.bitSize / 8);
      return [{ name: camelCase(member.name), offset, piece }];
    });
  }

  #piece(typeId: number, what: string, field: string, width = 0): Piece {
    const type = this.#btf.resolved(typeId);
    switch (type.kind) {
      case 'int':
        if (type.bool) return booleanPiece;
        if (type.size > 8) return bytesPiece(type.size, what);
        return integerPiece(width || type.size, type.signed, this.#isNetworkOrder(typeId));
      case 'ptr':
        return integerPiece(8, false, false);
      case 'float':
        if (type.size !== 4 && type.size !== 8) return bytesPiece(type.size, what);
        return numberPiece(`Float${type.size * 8}`, type.size, 'number', true);
      case 'enum':
      case 'enum64': {
        const plain = integerPiece(width || type.size, type.signed, false);
        if (type.name === '') return plain;
        this.#needs.enum(type, type.name);
        const name = pascalCase(type.name);
        return { ...plain, type: name, decode: (at) => `${plain.decode(at, 0)} as ${name}` };
      }
      case 'struct': {
        const name = type.name || `${this.#owner}_${field}`;
        this.#needs.struct(type, name);
        return structPiece(pascalCase(name), type.size);
      }
      case 'union':
        return bytesPiece(type.size, what);
      case 'array':
        return this.#array(type, what, field);
      default:
        throw new BtfError(`${what} is a ${type.kind}, which has no codec`);
    }
  }

  #array(array: BtfArray, what: string, field: string): Piece {
    if (array.count === 0) throw new BtfError(`${what} is an array without a length`);
    const element = this.#btf.resolved(array.elementTypeId);
    if (element.kind === 'int' && element.size === 1 && !element.bool) {
      return bytesPiece(array.count, what);
    }
    const piece = this.#piece(array.elementTypeId, what, field);
    const { size, note } = piece;
    const element_ = (at: string, index: string) =>
      `${at === '0' ? '' : `${at} + `}${index}${size === 1 ? '' : ` * ${size}`}`;
    return {
      type: `readonly ${/^[\w]+$/.test(piece.type) ? piece.type : `(${piece.type})`}[]`,
      size: size * array.count,
      ...(note === undefined ? {} : { note }),
      encode: (value, at, depth) => {
        const index = `i${depth || ''}`;
        const pad = '  '.repeat(depth + 1);
        const inner = piece.encode(`${value}[${index}]!`, element_(at, index), depth + 1);
        return [
          `${pad}checkLength('${what}', ${value}.length, ${array.count});`,
          `${pad}for (let ${index} = 0; ${index} < ${array.count}; ${index}++) {`,
          inner,
          `${pad}}`,
        ].join('\n');
      },
      decode: (at, depth) => {
        const index = `i${depth || ''}`;
        const inner = piece.decode(element_(at, index), depth + 1);
        return `Array.from({ length: ${array.count} }, (_, ${index}) => ${inner})`;
      },
    };
  }

  /** Returns true if the integer has its type from `__be16`, `__be32` or `__be64`. */
  #isNetworkOrder(typeId: number): boolean {
    const last = this.#btf.resolve(typeId);
    let id = typeId;
    while (id !== last) {
      const type = this.#btf.typeById(id);
      if (type.kind === 'typedef' && networkOrder.test(type.name)) return true;
      id = 'typeId' in type ? type.typeId : last;
    }
    return false;
  }
}

const indent = (depth: number) => '  '.repeat(depth + 1);

/** A value that DataView has a getter and a setter for. */
function numberPiece(accessor: string, size: number, type: string, littleEndian: boolean): Piece {
  const order = size === 1 ? '' : `, ${littleEndian}`;
  return {
    type,
    size,
    encode: (value, at, depth) => `${indent(depth)}view.set${accessor}(${at}, ${value}${order});`,
    decode: (at) => `view.get${accessor}(${at}${order})`,
    ...(littleEndian ? {} : { note: 'Network byte order in the struct, host order here.' }),
  };
}

function integerPiece(size: number, signed: boolean, networkOrder: boolean): Piece {
  const big = size === 8;
  const accessor = `${big ? 'Big' : ''}${signed ? 'Int' : 'Uint'}${size * 8}`;
  return numberPiece(accessor, size, big ? 'bigint' : 'number', !networkOrder);
}

const booleanPiece: Piece = {
  type: 'boolean',
  size: 1,
  encode: (value, at, depth) => `${indent(depth)}view.setUint8(${at}, ${value} ? 1 : 0);`,
  decode: (at) => `view.getUint8(${at}) !== 0`,
};

function bytesPiece(size: number, what: string): Piece {
  return {
    type: 'Uint8Array',
    size,
    note: `${size} bytes.`,
    encode: (value, at, depth) =>
      [
        `${indent(depth)}checkLength('${what}', ${value}.length, ${size});`,
        `${indent(depth)}into.set(${value}, ${place(at)});`,
      ].join('\n'),
    decode: (at) => `bytesAt(bytes, ${place(at)}, ${size})`,
  };
}

function structPiece(name: string, size: number): Piece {
  return {
    type: name,
    size,
    encode: (value, at, depth) => `${indent(depth)}encode${name}(${value}, into, ${place(at)});`,
    decode: (at) => `decode${name}(bytes, ${place(at)})`,
  };
}
