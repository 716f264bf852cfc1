import { codecSource } from './bindings-codec.ts';
import { camelCase, enumeratorNames, pascalCase } from './bindings-names.ts';
import { type Btf, BtfError } from './btf.ts';
import type { BtfComposite, BtfEnum } from './btf-types.ts';
import type { ObjectSpec } from './spec.ts';

/** The types that `generateBindings` writes. */
export interface BindingsOptions {
  /** C names of structs. The structs and enums of their fields are added. */
  readonly structs?: readonly string[];
  /** C names of further enums. An object's BTF has only the types that the object refers to. */
  readonly enums?: readonly string[];
  /** Adds the structs that are keys and values of the objects' maps. */
  readonly maps?: boolean;
  /** Comment lines for the start of the file, without the slashes. */
  readonly header?: readonly string[];
}

/**
 * Returns TypeScript source with a codec for each struct, from the BTF of one or more objects. For
 * `struct service_key` it has
 * - `interface ServiceKey`: integers of up to 32 bits and floats are numbers, 64 bits and pointers
 *   are bigints, `_Bool` is boolean, arrays of bytes and named unions are Uint8Arrays, other arrays
 *   are arrays, enums are the union of their values. Fields of a type `__be16`, `__be32` or `__be64`
 *   are in host order here and in network order in the bytes. Names are in camelCase.
 * - `serviceKeySize`: the size in bytes.
 * - `encodeServiceKey(value, into, offset = 0)`: writes all bytes of the struct, zeroes in its
 *   padding. Throws RangeError for an array of the wrong length, or when `into` is too short.
 * - `decodeServiceKey(bytes, offset = 0)`: returns the value, which shares no memory with `bytes`.
 * - `serviceKeyCodec`: a Codec of these for `TypedMap`, with the offset of each field in `offsets`.
 *
 * `enum backend_state { BACKEND_GONE, ... }` becomes `const backendState = { gone: 0, ... }` and
 * `type BackendState`, without the prefix that all enumerators share.
 *
 * Throws BtfError for types that are missing, for bit fields that are not whole bytes, for unions
 * without a name, and for types that differ from object to object.
 */
export function generateBindings(
  specs: readonly ObjectSpec[],
  options: BindingsOptions = {},
): string {
  const output = new Map<string, string>();
  const wantedStructs = new Set(options.structs);
  const wantedEnums = new Set(options.enums);
  for (const spec of specs) {
    if (spec.btf === undefined) continue;
    const bindings = new Bindings(spec.btf, output);
    for (const name of options.structs ?? []) {
      const type = spec.btf.byName(name, 'struct');
      if (type?.kind !== 'struct') continue;
      bindings.addStruct(type, name);
      wantedStructs.delete(name);
    }
    for (const name of options.enums ?? []) {
      const type = spec.btf.byName(name, 'enum') ?? spec.btf.byName(name, 'enum64');
      if (type?.kind !== 'enum' && type?.kind !== 'enum64') continue;
      bindings.addEnum(type, name);
      wantedEnums.delete(name);
    }
    if (options.maps === true) bindings.addMaps(spec);
  }
  const missing = [...wantedStructs, ...wantedEnums];
  if (missing.length > 0) {
    throw new BtfError(`no object has the types ${missing.join(', ')} (does a program use them?)`);
  }
  const header = (options.header ?? []).map((line) => `// ${line}`.trimEnd());
  const names = [...output.keys()].sort();
  const codecs = names.map((name) => output.get(name)!).join('\n');
  const called = support.filter(([call]) => codecs.includes(call)).map(([, source]) => source);
  return [...header.map((line) => `${line}\n`), '\n', codecs, ...called].join('');
}

/** Collects the sources of one object's types; `output` is by the name of the type. */
class Bindings {
  readonly #btf: Btf;
  readonly #output: Map<string, string>;
  readonly #added = new Set<number>();

  constructor(btf: Btf, output: Map<string, string>) {
    this.#btf = btf;
    this.#output = output;
  }

  addMaps(spec: ObjectSpec): void {
    for (const map of spec.maps.values()) {
      if (map.contents !== undefined) continue;
      for (const id of [map.keyTypeId, map.valueTypeId]) {
        const type = this.#btf.resolved(id);
        if (type.kind !== 'struct' || type.name === '' || this.#isTheKernels(type)) continue;
        this.addStruct(type, type.name);
      }
    }
  }

  /** Returns true if the struct has a timer, which user space can neither read nor write. */
  #isTheKernels({ members }: BtfComposite): boolean {
    return members.some(({ typeId }) => this.#btf.nameOf(typeId) === 'bpf_timer');
  }

  addStruct(type: BtfComposite, name: string): void {
    if (this.#added.has(type.id)) return;
    this.#added.add(type.id);
    const source = codecSource(this.#btf, type, name, {
      struct: (inner, innerName) => this.addStruct(inner, innerName),
      enum: (inner, innerName) => this.addEnum(inner, innerName),
    });
    this.#put(name, source);
  }

  addEnum(type: BtfEnum, name: string): void {
    if (this.#added.has(type.id)) return;
    this.#added.add(type.id);
    const constant = camelCase(name);
    const names = enumeratorNames(type.values.map((value) => value.name));
    const suffix = type.size === 8 ? 'n' : '';
    const lines = type.values.map(({ value }, i) => `  ${names[i]}: ${value}${suffix},`);
    this.#put(
      name,
      `/** enum ${name} */
export const ${constant} = {
${lines.join('\n')}
} as const;
export type ${pascalCase(name)} = (typeof ${constant})[keyof typeof ${constant}];
`,
    );
  }

  #put(name: string, source: string): void {
    const key = pascalCase(name);
    const before = this.#output.get(key);
    if (before !== undefined && before !== source) {
      throw new BtfError(`${name} is not the same in all objects`);
    }
    this.#output.set(key, source);
  }
}

/** Functions that the codecs of the generated file call. */
const support: readonly (readonly [call: string, source: string])[] = [
  [
    'viewOf(',
    `
function viewOf(bytes: Uint8Array, offset: number, length: number): DataView {
  checkRoom(bytes, offset, length);
  return new DataView(bytes.buffer, bytes.byteOffset + offset, length);
}
`,
  ],
  [
    'bytesAt(',
    `
function bytesAt(bytes: Uint8Array, offset: number, length: number): Uint8Array {
  checkRoom(bytes, offset, length);
  return bytes.slice(offset, offset + length);
}
`,
  ],
  [
    '',
    `
function checkRoom(bytes: Uint8Array, offset: number, length: number): void {
  if (offset < 0 || offset + length > bytes.length) {
    throw new RangeError(\`reach \${length} bytes at \${offset}: has \${bytes.length}\`);
  }
}
`,
  ],
  [
    'checkLength(',
    `
function checkLength(what: string, given: number, wanted: number): void {
  if (given !== wanted) throw new RangeError(\`encode \${what}: length \${given}, want \${wanted}\`);
}
`,
  ],
];
