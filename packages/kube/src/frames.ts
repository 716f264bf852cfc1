import { KubeError } from './errors.ts';
import { readJson } from './json.ts';

/** A response that is not the requested list or watch. */
export class ProtocolError extends KubeError {
  override readonly name = 'ProtocolError';
}

/** etcd limits objects to 3 MiB. JSON has at most a few times as many bytes. */
const maxFrameBytes = 16 << 20;
/** The limit of a list without its items. */
const maxHeadBytes = 64 << 10;

/** A buffer for bytes that arrive in pieces. It shrinks after a large frame. */
class Carry {
  readonly #most: number;
  readonly #what: string;
  #bytes = new Uint8Array(0);
  #length = 0;

  constructor(most: number, what: string) {
    this.#most = most;
    this.#what = what;
  }

  get length(): number {
    return this.#length;
  }

  /** The bytes so far. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  append(piece: Uint8Array): void {
    const length = this.#length + piece.length;
    if (length > this.#most) {
      throw tooLong(this.#what, this.#most);
    }
    if (length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(length, 2 * this.#bytes.length, 4096));
      larger.set(this.bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(piece, this.#length);
    this.#length = length;
  }

  clear(): void {
    this.#length = 0;
    if (this.#bytes.length > 64 << 10) this.#bytes = new Uint8Array(0);
  }
}

function tooLong(what: string, most: number): ProtocolError {
  return new ProtocolError(`read ${what}: longer than ${most} bytes`);
}

const lineFeed = 0x0a;

/** Cuts the body of a watch into lines. Each has the JSON of one event. */
export class LineFrames {
  readonly #onLine: (line: Uint8Array) => void;
  readonly #carry: Carry;
  readonly #most: number;

  /** `onLine` is called with bytes that are valid during the call. */
  constructor(onLine: (line: Uint8Array) => void, most = maxFrameBytes) {
    this.#onLine = onLine;
    this.#most = most;
    this.#carry = new Carry(most, 'watch event');
  }

  /** Adds the next piece of the body. Throws ProtocolError for a line that is too long. */
  push(chunk: Uint8Array): void {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(lineFeed, start);
      if (end < 0) break;
      const piece = chunk.subarray(start, end);
      start = end + 1;
      if (this.#carry.length > 0) {
        this.#carry.append(piece);
        this.#onLine(this.#carry.bytes);
        this.#carry.clear();
      } else if (piece.length > this.#most) {
        throw tooLong('watch event', this.#most);
      } else if (piece.length > 0) {
        this.#onLine(piece);
      }
    }
    if (start < chunk.length) this.#carry.append(chunk.subarray(start));
  }

  /** Ends the body. Throws ProtocolError within a line. */
  end(): void {
    if (this.#carry.length > 0) {
      throw new ProtocolError('read watch event: the response ends within a line');
    }
  }
}

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const colon = 0x3a;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const listEnd = new Uint8Array([closeBracket, closeBrace]);
/** The key of the items with its quotes. */
const itemsKey = new Uint8Array([0x22, 0x69, 0x74, 0x65, 0x6d, 0x73, 0x22]);

/** 1 for a byte that changes the depth or begins a string. */
const structural = new Uint8Array(256);
for (const byte of [quote, openBracket, closeBracket, openBrace, closeBrace]) structural[byte] = 1;

/** The position of the reader in a list. */
type Place =
  /** Outside the items. All bytes are kept and parsed as JSON at the end. */
  | 'head'
  /** Between items: the first one may begin (`first`), must begin (`next`) or must not (`after`). */
  | 'first'
  | 'next'
  | 'after'
  | 'item';

/**
 * Cuts the body of a list into the bytes of each item, and the rest. It finds the end of an item by counting
 * brackets. The reader of an item checks that it is JSON.
 */
export class ListFrames {
  readonly #onItem: (item: Uint8Array, head: unknown) => void;
  readonly #item: Carry;
  readonly #most: number;
  readonly #head = new Carry(maxHeadBytes, 'list');
  #place: Place = 'head';
  #depth = 0;
  #inText = false;
  #isEscaped = false;
  /** In the head at depth 1: the start of a string that may be a key; -1: it can't be one. */
  #keyStart = -1;
  #isItemsKey = false;
  /** The part of the list before its items. */
  #early: unknown;

  /**
   * `onItem` is called with bytes that are valid during the call, and with the part of the list before its
   * items.
   */
  constructor(onItem: (item: Uint8Array, head: unknown) => void, most = maxFrameBytes) {
    this.#onItem = onItem;
    this.#most = most;
    this.#item = new Carry(most, 'item of a list');
  }

  /** Adds the next piece of the body. Throws ProtocolError or JsonError. */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#place === 'head') at = this.#readHead(chunk, at);
      else if (this.#place === 'item') at = this.#readItem(chunk, at);
      else at = this.#readBetween(chunk, at);
    }
  }

  /** Ends the body and returns the list without its items. Throws ProtocolError or JsonError. */
  end(): unknown {
    if (this.#place !== 'head') {
      throw new ProtocolError('read list: the response ends within the items');
    }
    return readJson(this.#head.bytes);
  }

  #readHead(chunk: Uint8Array, start: number): number {
    for (let at = start; at < chunk.length; at++) {
      const byte = chunk[at]!;
      const keyOffset = this.#head.length + at - start;
      if (this.#inText) {
        if (this.#isEscaped) this.#isEscaped = false;
        else if (byte === backslash) this.#isEscaped = true;
        else if (byte === quote) {
          this.#inText = false;
          if (this.#keyStart >= 0 && keyOffset - this.#keyStart === itemsKey.length - 1) {
            this.#head.append(chunk.subarray(start, at + 1));
            this.#isItemsKey = endsWith(this.#head.bytes, itemsKey);
            return at + 1;
          }
        }
      } else if (byte === quote) {
        this.#inText = true;
        this.#isItemsKey = false;
        this.#keyStart = this.#depth === 1 ? keyOffset : -1;
      } else if (byte === openBracket && this.#isItemsKey) {
        if (this.#early !== undefined) throw new ProtocolError('read list: it has items twice');
        this.#head.append(chunk.subarray(start, at + 1));
        this.#beginItems();
        return at + 1;
      } else if (byte === openBracket || byte === openBrace) this.#depth++;
      else if (byte === closeBracket || byte === closeBrace) this.#depth--;
      else if (byte !== colon && !isSpace(byte)) this.#isItemsKey = false;
    }
    this.#head.append(chunk.subarray(start));
    return chunk.length;
  }

  #beginItems(): void {
    this.#isItemsKey = false;
    this.#place = 'first';
    const soFar = new Uint8Array(this.#head.length + listEnd.length);
    soFar.set(this.#head.bytes);
    soFar.set(listEnd, this.#head.length);
    this.#early = readJson(soFar);
  }

  #readBetween(chunk: Uint8Array, at: number): number {
    const byte = chunk[at]!;
    if (isSpace(byte)) return at + 1;
    if (byte === openBrace && this.#place !== 'after') {
      this.#place = 'item';
      this.#depth = 0;
      return at;
    }
    if (byte === comma && this.#place === 'after') {
      this.#place = 'next';
      return at + 1;
    }
    if (byte === closeBracket && this.#place !== 'next') {
      this.#place = 'head';
      this.#depth = 1;
      this.#head.append(chunk.subarray(at, at + 1));
      return at + 1;
    }
    throw new ProtocolError(`read list: unexpected byte 0x${byte.toString(16)} among its items`);
  }

  #readItem(chunk: Uint8Array, start: number): number {
    let at = start;
    let depth = this.#depth;
    const end = chunk.length;
    while (at < end) {
      if (this.#inText) {
        at = this.#readText(chunk, at);
        continue;
      }
      while (at < end && structural[chunk[at]!] === 0) at++;
      if (at === end) break;
      const byte = chunk[at++]!;
      if (byte === quote) this.#inText = true;
      else if (byte === openBrace || byte === openBracket) depth++;
      else if (--depth === 0) {
        this.#place = 'after';
        if (this.#item.length === 0) this.#emit(chunk.subarray(start, at));
        else {
          this.#item.append(chunk.subarray(start, at));
          this.#emit(this.#item.bytes);
          this.#item.clear();
        }
        return at;
      }
    }
    this.#depth = depth;
    this.#item.append(chunk.subarray(start));
    return end;
  }

  #emit(item: Uint8Array): void {
    if (item.length > this.#most) throw tooLong('item of a list', this.#most);
    this.#onItem(item, this.#early);
  }

  /** Skips a string. Returns the index after it, or the end. */
  #readText(chunk: Uint8Array, start: number): number {
    let at = start;
    if (this.#isEscaped) {
      this.#isEscaped = false;
      at++;
    }
    while (at < chunk.length) {
      const byte = chunk[at++]!;
      if (byte === quote) {
        this.#inText = false;
        return at;
      }
      if (byte === backslash) {
        if (at === chunk.length) this.#isEscaped = true;
        at++;
      }
    }
    return chunk.length;
  }
}

function endsWith(bytes: Uint8Array, ending: Uint8Array): boolean {
  const start = bytes.length - ending.length;
  return ending.every((byte, i) => bytes[start + i] === byte);
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
