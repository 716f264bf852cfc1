import { decodeUtf8 } from '@heddle/sys';

const newline = 0x0a;

/**
 * Splits a byte stream into lines. It holds at most one line of the longest length and one chunk:
 * once `overflowed` is true, it ignores all further bytes.
 */
export class LineReader {
  readonly #longest: number;
  #bytes = new Uint8Array(0);
  /** End of the received bytes. */
  #end = 0;
  /** Start of the next line, and the end of the part of it that has no newline. */
  #start = 0;
  #scanned = 0;
  #overflowed = false;

  /** `longest` is the largest number of bytes in a line, without its newline. */
  constructor(longest: number) {
    this.#longest = longest;
  }

  /** True after a line that was too long: no further line is returned. */
  get overflowed(): boolean {
    return this.#overflowed;
  }

  /** Adds received bytes, which are copied. */
  push(chunk: Uint8Array): void {
    if (this.#overflowed || chunk.length === 0) return;
    if (this.#end + chunk.length > this.#bytes.length) this.#makeRoom(chunk.length);
    this.#bytes.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  /**
   * Moves the held bytes to the front of a buffer of twice their size, so that each byte is moved a
   * constant number of times on average, however small the chunks are.
   */
  #makeRoom(length: number): void {
    const held = this.#bytes.subarray(this.#start, this.#end);
    const moved = new Uint8Array(held.length === 0 ? length : 2 * (held.length + length));
    moved.set(held);
    this.#bytes = moved;
    this.#end = held.length;
    this.#scanned -= this.#start;
    this.#start = 0;
  }

  /**
   * Returns the next complete line without its newline, and without a carriage return before the
   * newline; undefined when there is none.
   */
  next(): string | undefined {
    if (this.#overflowed) return undefined;
    // Bytes after the end belong to older lines, or are zero.
    const found = this.#bytes.subarray(0, this.#end).indexOf(newline, this.#scanned);
    const end = found < 0 ? undefined : found;
    if (end === undefined) this.#scanned = this.#end;
    if ((end ?? this.#end) - this.#start > this.#longest) {
      this.#overflowed = true;
      this.#bytes = new Uint8Array(0);
      this.#end = this.#start = this.#scanned = 0;
      return undefined;
    }
    if (end === undefined) return undefined;
    const line = this.#bytes.subarray(
      this.#start,
      this.#bytes[end - 1] === 0x0d && end > this.#start ? end - 1 : end,
    );
    this.#start = this.#scanned = end + 1;
    return decodeUtf8(line);
  }
}
