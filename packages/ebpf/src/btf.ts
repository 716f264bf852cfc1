import { decodeUtf8, encodeUtf8 } from '@heddle/sys';
import { decodeType } from './btf-decode.ts';
import { BtfKind, type BtfKindName, type BtfType, btfKindNames } from './btf-types.ts';

/** BTF that can't be used. The message names the part that is wrong. */
export class BtfError extends Error {
  override readonly name = 'BtfError';

  readonly reason: string;

  /** `file` is the name of the file that has the BTF, when the caller knows it. */
  constructor(reason: string, file?: string, options?: ErrorOptions) {
    super(`read BTF${file === undefined ? '' : ` of ${file}`}: ${reason}`, options);
    this.reason = reason;
  }
}

// Words that follow the three of each btf_type: a fixed number, and some for each of vlen entries.
//                 void int ptr arr str uni enu fwd typ vol con res fun pro var sec flo dec tag e64
const fixedWords = [0, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0];
const entryWords = [0, 0, 0, 0, 3, 3, 2, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 3];

/** The number of typedefs, modifiers and arrays that may be nested, as in the kernel. */
const maxDepth = 64;
const pointerSize = 8;

/** Longer names share a bucket. The kernel accepts names of up to 511 bytes. */
const hashedLength = 512;

/** The kernel's bound is 511 bytes (KSYM_NAME_LEN since Linux 6.1). */
const longestString = 4096;

interface NameIndex {
  /** First id of each bucket, or 0. The number of buckets is a power of two. */
  readonly heads: Int32Array;
  /** Next id in the bucket (ascending), or 0, by `id - firstId`. */
  readonly next: Int32Array;
}

/**
 * BPF Type Format (Documentation/bpf/btf.rst), read in place. Parsing scans once over the types and
 * keeps one offset for each. Types are decoded when they are requested, and the index by name is built
 * at its first use. Ids start at 1 (0 is void), or where `base` ends for split BTF.
 */
export class Btf {
  /** The BTF as bytes. */
  readonly bytes: Uint8Array;
  readonly base: Btf | undefined;
  /** The first id that is not of `base`. `endId` is the first one behind the last. */
  readonly firstId: number;
  readonly endId: number;
  readonly #words: Uint32Array;
  /** Index in `#words` of each own type. */
  readonly #offsets: Uint32Array;
  /** Byte offset of the type section. */
  readonly #typesStart: number;
  readonly #strings: Uint8Array;
  readonly #stringsStart: number;
  #names: NameIndex | undefined;

  private constructor(
    bytes: Uint8Array,
    base: Btf | undefined,
    words: Uint32Array,
    typesStart: number,
    strings: Uint8Array,
  ) {
    this.bytes = bytes;
    this.#typesStart = typesStart;
    this.base = base;
    this.#words = words;
    this.#strings = strings;
    this.#stringsStart = base === undefined ? 0 : base.#stringsStart + base.#strings.length;
    this.firstId = base === undefined ? 1 : base.endId;
    this.#offsets = scan(words);
    this.endId = this.firstId + this.#offsets.length;
  }

  /**
   * Reads a BTF blob (`.BTF` of an object, /sys/kernel/btf/*). `base` is the BTF that a split one
   * (a kernel module's) continues. Keeps `bytes`: the caller must not change them. Throws BtfError.
   */
  static parse(bytes: Uint8Array, base?: Btf): Btf {
    const { types, strings } = readHeader(bytes);
    if (base === undefined && strings[0] !== 0) {
      throw new BtfError('string section does not start with an empty string');
    }
    // Typed arrays need aligned memory, and a section of a file can have any offset.
    const aligned = types.byteOffset % 4 === 0 ? types : types.slice();
    const words = new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.length / 4);
    return new Btf(bytes, base, words, types.byteOffset - bytes.byteOffset, strings);
  }

  /** Returns the type with this id. Throws BtfError for an unknown id. */
  typeById(id: number): BtfType {
    if (id === 0) return { id: 0, kind: 'void', name: '' };
    const owner = this.#ownerOf(id);
    // Types of a split BTF may have its own strings, types of the base never do.
    return decodeType(id, owner.#words, owner.#offsets[id - owner.firstId]!, owner);
  }

  /** Returns the BTF_KIND_* of a type without decoding the rest of it. */
  kindOf(id: number): number {
    return id === 0 ? BtfKind.void : (this.#header(id, 1) >>> 24) & 0x1f;
  }

  /** Returns the name of a type without decoding the rest of it. */
  nameOf(id: number): string {
    return id === 0 ? '' : this.string(this.#header(id, 0));
  }

  /** Returns the string at an offset of the string section or sections. Throws BtfError. */
  string(offset: number): string {
    if (offset === 0) return '';
    const [strings, start] = this.#locateString(offset);
    // Strings may share bytes, so that the sum of their lengths can exceed the file: each has a limit.
    const bytes = strings.subarray(start, start + longestString + 1);
    const end = bytes.indexOf(0);
    if (end < 0) {
      const problem =
        bytes.length > longestString ? `is longer than ${longestString} bytes` : 'has no end';
      throw new BtfError(`string at ${offset} ${problem}`);
    }
    return decodeUtf8(bytes.subarray(0, end));
  }

  /** Returns the first type with this name and, if given, kind. Types of the base come first. */
  byName(name: string, kind?: BtfKindName): BtfType | undefined {
    const found = this.base?.byName(name, kind);
    if (found !== undefined) return found;
    for (const id of this.#bucket(name)) {
      if (kind !== undefined && btfKindNames[this.kindOf(id)] !== kind) continue;
      if (this.nameOf(id) === name) return this.typeById(id);
    }
    return undefined;
  }

  /**
   * Returns the ids of all types with this name, flavors aside: a suffix after three underscores is
   * ignored on both sides (`task_struct___old` matches `task_struct`). They ascend, the base first.
   */
  idsByEssentialName(name: string): number[] {
    const essential = essentialName(name);
    const ids = this.base?.idsByEssentialName(name) ?? [];
    for (const id of this.#bucket(name)) {
      if (essentialName(this.nameOf(id)) === essential) ids.push(id);
    }
    return ids;
  }

  /** Returns the id of the type behind typedefs, const, volatile, restrict and type tags. */
  resolve(id: number): number {
    let at = id;
    for (let depth = 0; depth < maxDepth; depth++) {
      const kind = this.kindOf(at);
      if (kind !== BtfKind.type_tag && (kind < BtfKind.typedef || kind > BtfKind.restrict)) {
        return at;
      }
      at = this.#header(at, 2);
    }
    throw new BtfError(`type ${id} refers to itself`);
  }

  /** Returns the type behind typedefs and modifiers. */
  resolved(id: number): BtfType {
    return this.typeById(this.resolve(id));
  }

  /** Returns the size of a type in bytes. Throws BtfError for a type without a size. */
  sizeOf(id: number): number {
    let size = 1;
    let at = id;
    for (let depth = 0; depth < maxDepth; depth++) {
      at = this.resolve(at);
      const type = this.typeById(at);
      switch (type.kind) {
        case 'array':
          size *= type.count;
          at = type.elementTypeId;
          continue;
        case 'ptr':
          return limited(size * pointerSize, id);
        case 'int':
        case 'struct':
        case 'union':
        case 'enum':
        case 'enum64':
        case 'float':
        case 'datasec':
          return limited(size * type.size, id);
        case 'var':
          at = type.typeId;
          continue;
        default:
          throw new BtfError(`type ${id} has no size: ${type.kind} ${type.name}`);
      }
    }
    throw new BtfError(`type ${id} refers to itself`);
  }

  /** Returns the offset in `bytes` of the record of a type that is not of `base`. */
  byteOffset(id: number): number {
    return this.#typesStart + 4 * this.#offsets[this.#own(id)]!;
  }

  /** Returns the length in bytes of the record of a type that is not of `base`. */
  byteLength(id: number): number {
    const next = this.#own(id) + 1;
    const end = next < this.#offsets.length ? this.#offsets[next]! : this.#words.length;
    return 4 * end + this.#typesStart - this.byteOffset(id);
  }

  /** Bytes of the type section. */
  get typesLength(): number {
    return 4 * this.#words.length;
  }

  /** The string section. */
  get strings(): Uint8Array {
    return this.#strings;
  }

  #own(id: number): number {
    if (id < this.firstId || id >= this.endId) throw new BtfError(`type ${id} is of the base`);
    return id - this.firstId;
  }

  #header(id: number, word: number): number {
    const owner = this.#ownerOf(id);
    return owner.#words[owner.#offsets[id - owner.firstId]! + word]!;
  }

  #ownerOf(id: number): Btf {
    let owner: Btf | undefined = this;
    while (owner !== undefined && id < owner.firstId) owner = owner.base;
    if (owner === undefined || !(id < owner.endId)) throw new BtfError(`no type has id ${id}`);
    return owner;
  }

  #locateString(offset: number): [Uint8Array, number] {
    let owner: Btf | undefined = this;
    while (owner !== undefined && offset < owner.#stringsStart) owner = owner.base;
    if (owner === undefined || offset - owner.#stringsStart >= owner.#strings.length) {
      throw new BtfError(`string offset ${offset} lies beyond the string section`);
    }
    return [owner.#strings, offset - owner.#stringsStart];
  }

  /** Returns the ids, not of `base`, whose essential name may be that of `name`, ascending. */
  *#bucket(name: string): Generator<number> {
    this.#names ??= this.#buildIndex();
    const { heads, next } = this.#names;
    const bytes = encodeUtf8(name);
    const end = Math.min(bytes.length, hashedLength);
    let id = heads[hashEssential(bytes, 0, end) & (heads.length - 1)]!;
    while (id !== 0) {
      yield id;
      id = next[id - this.firstId]!;
    }
  }

  #buildIndex(): NameIndex {
    const count = this.#offsets.length;
    let buckets = 16;
    while (buckets < count) buckets *= 2;
    const heads = new Int32Array(buckets);
    const next = new Int32Array(count);
    // From the end, so that each bucket lists its ids in ascending order.
    for (let i = count - 1; i >= 0; i--) {
      const offset = this.#words[this.#offsets[i]!]!;
      if (offset === 0) continue;
      const [strings, start] = this.#locateString(offset);
      let end = start;
      while (strings[end] !== 0 && end - start < hashedLength) end++;
      const bucket = hashEssential(strings, start, end) & (buckets - 1);
      next[i] = heads[bucket]!;
      heads[bucket] = this.firstId + i;
    }
    return { heads, next };
  }
}

/** Returns a name without its flavor: `sock` for `sock___v2`. */
export function essentialName(name: string): string {
  const bytes = encodeUtf8(name);
  const end = essentialEnd(bytes, 0, bytes.length);
  return end === bytes.length ? name : decodeUtf8(bytes.subarray(0, end));
}

const underscore = 95;

/** Returns the index of the last three underscores between other characters, or `end`. */
function essentialEnd(bytes: Uint8Array, start: number, end: number): number {
  for (let at = end - 5; at >= start; at--) {
    if (
      bytes[at + 2] === underscore &&
      bytes[at + 1] === underscore &&
      bytes[at + 3] === underscore &&
      bytes[at] !== underscore &&
      bytes[at + 4] !== underscore
    ) {
      return at + 1;
    }
  }
  return end;
}

/** Returns the FNV-1a hash of the essential part of a name. */
function hashEssential(bytes: Uint8Array, start: number, end: number): number {
  const stop = essentialEnd(bytes, start, end);
  let hash = 0x811c9dc5;
  for (let at = start; at < stop; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193);
  return hash ^ (hash >>> 15);
}

function readHeader(bytes: Uint8Array): { types: Uint8Array; strings: Uint8Array } {
  if (bytes.length < 24) throw new BtfError('shorter than its header');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint16(0, true) !== 0xeb9f) throw new BtfError('no BTF magic at the start');
  if (bytes[2] !== 1) throw new BtfError(`version ${bytes[2]}, want 1`);
  const headerLength = view.getUint32(4, true);
  if (headerLength < 24 || headerLength > bytes.length) {
    throw new BtfError(`header of ${headerLength} bytes`);
  }
  const part = (at: number, what: string) => {
    const start = headerLength + view.getUint32(at, true);
    const length = view.getUint32(at + 4, true);
    if (start + length > bytes.length) throw new BtfError(`${what} lies beyond the end`);
    return bytes.subarray(start, start + length);
  };
  const types = part(8, 'type section');
  const strings = part(16, 'string section');
  if (types.length % 4 !== 0) throw new BtfError('type section is not a multiple of 4 bytes');
  if (strings.length > 0 && strings[strings.length - 1] !== 0) {
    throw new BtfError('string section does not end with NUL');
  }
  return { types, strings };
}

/** Returns the offset of each type, in words. */
function scan(words: Uint32Array): Uint32Array {
  const offsets = new Uint32Array(Math.ceil(words.length / 3));
  let count = 0;
  for (let at = 0; at < words.length; ) {
    if (at + 3 > words.length) throw new BtfError(`type ${count + 1} is cut off`);
    const info = words[at + 1]!;
    const kind = (info >>> 24) & 0x1f;
    if (kind === 0 || kind >= btfKindNames.length) {
      throw new BtfError(`type ${count + 1} has the unknown kind ${kind}`);
    }
    offsets[count++] = at;
    at += 3 + fixedWords[kind]! + entryWords[kind]! * (info & 0xffff);
    if (at > words.length) throw new BtfError(`type ${count} is cut off`);
  }
  return offsets.slice(0, count);
}

function limited(size: number, id: number): number {
  if (size > 0xffffffff) throw new BtfError(`type ${id} is larger than 4 GiB`);
  return size;
}
