import { decodeUtf8 } from '@heddle/sys';
import { KubeError } from './errors.ts';
import { assign, type Fields, type SelectedKey, type Selection, selectionOf } from './fields.ts';

/** Bytes that are not JSON (RFC 8259). */
export class JsonError extends KubeError {
  override readonly name = 'JsonError';
  /** The index of the byte at which reading stopped. */
  readonly offset: number;

  constructor(cause: string, offset: number) {
    super(`read JSON: ${cause} at byte ${offset}`);
    this.offset = offset;
  }
}

const deepest = 256;

/**
 * Reads one JSON value as JSON.parse does, and creates only the selected part of it. The rest is checked and
 * takes no memory. Throws JsonError, also for more than 256 nested levels. Malformed UTF-8 becomes U+FFFD.
 */
export function readJson(bytes: Uint8Array, fields: Fields = true): unknown {
  const reader = new JsonReader(bytes);
  return reader.document(selectionOf(fields));
}

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const colon = 0x3a;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const minus = 0x2d;

/** 1 for a byte that ends the plain part of a string: quote, backslash, control characters. */
const endsPlain = new Uint8Array(256);
endsPlain.fill(1, 0, 0x20);
endsPlain[quote] = 1;
endsPlain[backslash] = 1;

/** The character for a byte after a backslash; 0: none. */
const escapes = new Uint8Array(256);
for (const [letter, code] of [
  ['"', 0x22],
  ['\\', 0x5c],
  ['/', 0x2f],
  ['b', 8],
  ['f', 12],
  ['n', 10],
  ['r', 13],
  ['t', 9],
] as const) {
  escapes[letter.charCodeAt(0)] = code;
}

class JsonReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at = 0;
  #depth = 0;
  /** Set by #skipText when the string is not plain ASCII. */
  #hasEscape = false;
  #hasUtf8 = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#end = bytes.length;
  }

  document(selection: Selection | undefined): unknown {
    const value = this.#value(selection);
    if (this.#token() !== -1) throw this.#unexpected();
    return value;
  }

  /** Returns the next byte that is not white space, -1 at the end, without consuming it. */
  #token(): number {
    const bytes = this.#bytes;
    let at = this.#at;
    while (at < this.#end) {
      const byte = bytes[at]!;
      if (byte > 0x20 || (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)) {
        this.#at = at;
        return byte;
      }
      at++;
    }
    this.#at = at;
    return -1;
  }

  #value(selection: Selection | undefined): unknown {
    switch (this.#token()) {
      case quote:
        return this.#text();
      case openBrace:
        return this.#map(selection);
      case openBracket:
        return this.#list(selection);
      case 0x74:
        return this.#word('true', true);
      case 0x66:
        return this.#word('false', false);
      case 0x6e:
        return this.#word('null', null);
      default:
        return this.#number();
    }
  }

  #skipValue(): void {
    switch (this.#token()) {
      case quote:
        this.#skipText();
        return;
      case openBrace:
        this.#skipMap();
        return;
      case openBracket:
        this.#skipList();
        return;
      case 0x74:
        this.#word('true', true);
        return;
      case 0x66:
        this.#word('false', false);
        return;
      case 0x6e:
        this.#word('null', null);
        return;
      default:
        this.#skipNumber();
    }
  }

  #map(selection: Selection | undefined): unknown {
    const map: Record<string, unknown> = {};
    this.#enter();
    if (this.#token() === closeBrace) return this.#leave(map);
    for (;;) {
      if (this.#token() !== quote) throw this.#unexpected();
      if (selection) {
        const selected = this.#selectedKey(selection);
        this.#expect(colon);
        if (selected) assign(map, selected.name, this.#value(selected.selection));
        else this.#skipValue();
      } else {
        const key = this.#text();
        this.#expect(colon);
        assign(map, key, this.#value(undefined));
      }
      if (this.#isLast(closeBrace)) return this.#leave(map);
    }
  }

  #skipMap(): void {
    this.#enter();
    if (this.#token() !== closeBrace) {
      do {
        if (this.#token() !== quote) throw this.#unexpected();
        this.#skipText();
        this.#expect(colon);
        this.#skipValue();
      } while (!this.#isLast(closeBrace));
    }
    this.#leave(undefined);
  }

  #list(selection: Selection | undefined): unknown {
    const list: unknown[] = [];
    this.#enter();
    if (this.#token() !== closeBracket) {
      do list.push(this.#value(selection));
      while (!this.#isLast(closeBracket));
    }
    return this.#leave(list);
  }

  #skipList(): void {
    this.#enter();
    if (this.#token() !== closeBracket) {
      do this.#skipValue();
      while (!this.#isLast(closeBracket));
    }
    this.#leave(undefined);
  }

  #enter(): void {
    if (++this.#depth > deepest) throw new JsonError(`nested deeper than ${deepest}`, this.#at);
    this.#at++;
  }

  #leave<T>(value: T): T {
    this.#depth--;
    this.#at++;
    return value;
  }

  /** After a value: returns whether the map or list ends here; else consumes the comma. */
  #isLast(close: number): boolean {
    const token = this.#token();
    if (token === close) return true;
    if (token !== comma) throw this.#unexpected();
    this.#at++;
    return false;
  }

  #expect(byte: number): void {
    if (this.#token() !== byte) throw this.#unexpected();
    this.#at++;
  }

  #word<T>(word: string, value: T): T {
    for (let i = 0; i < word.length; i++, this.#at++) {
      if (this.#bytes[this.#at] !== word.charCodeAt(i)) throw this.#unexpected();
    }
    return value;
  }

  #selectedKey(selection: Selection): SelectedKey | undefined {
    const start = this.#at + 1;
    this.#skipText();
    if (this.#hasEscape) {
      this.#at = start - 1;
      const key = this.#text();
      for (const candidates of selection.byLength) {
        const found = candidates?.find(({ name }) => name === key);
        if (found) return found;
      }
      return undefined;
    }
    const bytes = this.#bytes;
    const length = this.#at - 1 - start;
    const candidates = selection.byLength[length];
    if (candidates === undefined) return undefined;
    for (let i = 0; i < candidates.length; i++) {
      const candidate = candidates[i]!;
      const wanted = candidate.bytes;
      // Long keys differ at their ends more often than at their starts (`example.io/...`).
      let k = length - 1;
      while (k >= 0 && bytes[start + k] === wanted[k]) k--;
      if (k < 0) return candidate;
    }
    return undefined;
  }

  /** Skips a string from its quote on, and records whether it is plain ASCII and has escapes. */
  #skipText(): void {
    const bytes = this.#bytes;
    const end = this.#end;
    let high = 0;
    let hasEscape = false;
    let at = this.#at + 1;
    for (;;) {
      while (at < end) {
        const byte = bytes[at]!;
        if (endsPlain[byte] === 1) break;
        high |= byte;
        at++;
      }
      this.#at = at;
      const byte = at < end ? bytes[at]! : -1;
      if (byte === quote) break;
      if (byte !== backslash) throw this.#unexpected();
      hasEscape = true;
      at = this.#skipEscape(at + 1);
    }
    this.#at = at + 1;
    this.#hasEscape = hasEscape;
    this.#hasUtf8 = high > 0x7f;
  }

  /** Returns the index after an escape whose letter is at `at`. */
  #skipEscape(at: number): number {
    const letter = at < this.#end ? this.#bytes[at]! : 0;
    if (escapes[letter] !== 0) return at + 1;
    this.#at = at;
    if (letter !== 0x75) throw this.#unexpected();
    for (let i = 0; i < 4; i++) {
      this.#at++;
      if (hexDigit(this.#at < this.#end ? this.#bytes[this.#at]! : 0) < 0) throw this.#unexpected();
    }
    return at + 5;
  }

  #text(): string {
    const start = this.#at + 1;
    this.#skipText();
    const end = this.#at - 1;
    if (!this.#hasEscape) return plainText(this.#bytes, start, end, this.#hasUtf8);
    const bytes = this.#bytes;
    let text = '';
    let from = start;
    for (let at = start; at < end; ) {
      if (bytes[at] !== backslash) {
        at++;
        continue;
      }
      text += plainText(bytes, from, at, this.#hasUtf8);
      const letter = bytes[at + 1]!;
      let code = escapes[letter]!;
      if (letter === 0x75) {
        for (let i = 2; i < 6; i++) code = code * 16 + hexDigit(bytes[at + i]!);
        at += 4;
      }
      text += String.fromCharCode(code);
      at += 2;
      from = at;
    }
    return text + plainText(bytes, from, end, this.#hasUtf8);
  }

  #number(): number {
    const bytes = this.#bytes;
    const start = this.#at;
    if (this.#skipNumber() && this.#at - start <= 15) {
      const negative = bytes[start] === minus;
      let value = 0;
      for (let at = negative ? start + 1 : start; at < this.#at; at++) {
        value = value * 10 + (bytes[at]! - 0x30);
      }
      return negative ? -value : value;
    }
    return Number(plainText(bytes, start, this.#at, false));
  }

  /** Skips a number. Returns whether it is a plain integer. */
  #skipNumber(): boolean {
    const bytes = this.#bytes;
    let isInteger = true;
    if (bytes[this.#at] === minus) this.#at++;
    if (bytes[this.#at] === 0x30) this.#at++;
    else this.#digits();
    if (bytes[this.#at] === 0x2e) {
      isInteger = false;
      this.#at++;
      this.#digits();
    }
    const exponent = bytes[this.#at];
    if (exponent === 0x65 || exponent === 0x45) {
      isInteger = false;
      this.#at++;
      const sign = bytes[this.#at];
      if (sign === minus || sign === 0x2b) this.#at++;
      this.#digits();
    }
    return isInteger;
  }

  #digits(): void {
    const start = this.#at;
    while (this.#at < this.#end && (this.#bytes[this.#at]! ^ 0x30) < 10) this.#at++;
    if (this.#at === start) throw this.#unexpected();
  }

  #unexpected(): JsonError {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) return new JsonError('unexpected end', this.#end);
    const isPrintable = byte > 0x20 && byte < 0x7f;
    const shown = isPrintable ? String.fromCharCode(byte) : `0x${byte.toString(16)}`;
    return new JsonError(`unexpected ${shown}`, this.#at);
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** One array for each length, because a change of an array's length is expensive. */
const units: (number[] | undefined)[] = [];
const maxUnits = 256;

/** Returns the text of bytes that refers to no other text in V8 (see ownText in sys). */
function plainText(bytes: Uint8Array, start: number, end: number, hasUtf8: boolean): string {
  const length = end - start;
  if (hasUtf8 || length > maxUnits) return decodeUtf8(bytes.subarray(start, end));
  units[length] ??= new Array<number>(length).fill(0);
  const codes = units[length];
  for (let i = 0; i < length; i++) codes[i] = bytes[start + i]!;
  return String.fromCharCode.apply(null, codes);
}
