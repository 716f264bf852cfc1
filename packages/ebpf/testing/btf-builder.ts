import { encodeCString } from '@heddle/sys';
import { Btf } from '../src/btf.ts';
import { BtfKind, type BtfKindName } from '../src/btf-types.ts';

export interface MemberInput {
  readonly name?: string;
  readonly type: number;
  /** Bits from the start. */
  readonly at: number;
  /** Width of a bit field. */
  readonly bits?: number;
}

/** Writes BTF by hand, type after type; each call returns the id of the type that it adds. */
export class BtfBuilder {
  readonly #base: Btf | undefined;
  readonly #stringsStart: number;
  readonly #words: number[] = [];
  readonly #strings: number[] = [];
  readonly #known = new Map<string, number>();
  #next: number;

  constructor(base?: Btf) {
    this.#base = base;
    this.#next = base?.endId ?? 1;
    this.#stringsStart = base?.strings.length ?? 0;
    if (base === undefined) this.#strings.push(0);
  }

  int(name: string, size: number, encoding: 'signed' | 'char' | 'bool' | '' = '', bitOffset = 0) {
    const flags = { '': 0, signed: 1, char: 2, bool: 4 }[encoding];
    return this.#add('int', name, size, 0, [(flags << 24) | (bitOffset << 16) | (size * 8)]);
  }

  float(name: string, size: number) {
    return this.#add('float', name, size);
  }

  array(element: number, count: number, index = element) {
    return this.#add('array', '', 0, 0, [element, index, count]);
  }

  struct(name: string, size: number, members: readonly MemberInput[]) {
    return this.#composite('struct', name, size, members);
  }

  union(name: string, size: number, members: readonly MemberInput[]) {
    return this.#composite('union', name, size, members);
  }

  enum(name: string, values: Readonly<Record<string, number>>, size = 4, signed = false) {
    const words = Object.entries(values).flatMap(([key, value]) => [this.string(key), value]);
    return this.#add('enum', name, size, words.length / 2, words, signed);
  }

  enum64(name: string, values: Readonly<Record<string, bigint>>, signed = false) {
    const words = Object.entries(values).flatMap(([key, value]) => [
      this.string(key),
      Number(BigInt.asUintN(32, value)),
      Number(BigInt.asUintN(32, value >> 32n)),
    ]);
    return this.#add('enum64', name, 8, words.length / 3, words, signed);
  }

  forward(name: string, kind: 'struct' | 'union' = 'struct') {
    return this.#add('fwd', name, 0, 0, [], kind === 'union');
  }

  reference(
    kind: 'ptr' | 'typedef' | 'volatile' | 'const' | 'restrict' | 'type_tag',
    type: number,
    name = '',
  ) {
    return this.#add(kind, name, type);
  }

  prototype(returns: number, parameters: readonly { name?: string; type: number }[]) {
    const words = parameters.flatMap(({ name, type }) => [this.string(name ?? ''), type]);
    return this.#add('func_proto', '', returns, parameters.length, words);
  }

  func(name: string, prototype: number, linkage = 1) {
    return this.#add('func', name, prototype, linkage);
  }

  variable(name: string, type: number, linkage = 1) {
    return this.#add('var', name, type, 0, [linkage]);
  }

  section(name: string, size: number, entries: readonly (readonly [number, number, number])[]) {
    return this.#add('datasec', name, size, entries.length, entries.flat());
  }

  tag(name: string, type: number, component = -1) {
    return this.#add('decl_tag', name, type, 0, [component]);
  }

  /** Offset of a string, which is kept once. */
  string(text: string): number {
    if (text === '') return 0;
    let offset = this.#known.get(text);
    if (offset === undefined) {
      offset = this.#stringsStart + this.#strings.length;
      this.#strings.push(...encodeCString(text));
      this.#known.set(text, offset);
    }
    return offset;
  }

  bytes(): Uint8Array {
    const types = this.#words.length * 4;
    const bytes = new Uint8Array(24 + types + this.#strings.length);
    const view = new DataView(bytes.buffer);
    const header = [0x0001eb9f, 24, 0, types, types, this.#strings.length];
    for (const [i, word] of [...header, ...this.#words].entries()) {
      view.setUint32(i * 4, word >>> 0, true);
    }
    bytes.set(this.#strings, 24 + types);
    return bytes;
  }

  build(): Btf {
    return Btf.parse(this.bytes(), this.#base);
  }

  #composite(kind: 'struct' | 'union', name: string, size: number, list: readonly MemberInput[]) {
    const hasBits = list.some((member) => member.bits !== undefined);
    const words = list.flatMap((member) => [
      this.string(member.name ?? ''),
      member.type,
      (hasBits ? (member.bits ?? 0) << 24 : 0) | member.at,
    ]);
    return this.#add(kind, name, size, list.length, words, hasBits);
  }

  #add(
    kind: BtfKindName,
    name: string,
    sizeOrType: number,
    count = 0,
    words: readonly number[] = [],
    flag = false,
  ): number {
    const info = ((flag ? 1 : 0) << 31) | (BtfKind[kind] << 24) | count;
    this.#words.push(this.string(name), info, sizeOrType, ...words);
    return this.#next++;
  }
}
