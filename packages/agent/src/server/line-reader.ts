import { decodeUtf8 } from '@heddle/sys';

const newline = 0x0a;

/**
 * Cuts a stream of bytes into lines. It holds at most one line that is too long by a chunk: once
 * `overflowed` is set, it takes nothing more.
 */
export class LineReader {
  readonly #longest: number;
  #bytes = new Uint8Array(0);
  /** The end of the bytes that have arrived. */
  #end = 0;
  /** Where the next line starts, and up to where no newline was found. */
  #start = 0;
  #scanned = 0;
  #overflowed = false;

  /** `longest`: bytes of the longest line, without its newline. */
  constructor(longest: number) {
    this.#longest = longest;
  }

  /** A line was longer than allowed; the connection can't be read any further. */
  get overflowed(): boolean {
    return this.#overflowed;
  }

  push(chunk: Uint8Array): void {
    if (this.#overflowed || chunk.length === 0) return;
    if (this.#end + chunk.length > this.#bytes.length) this.#makeRoom(chunk.length);
    this.#bytes.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  /**
   * Moves what is held to the front. There is then as much room as bytes were moved, so that each byte is
   * moved a constant number of times however small the chunks are.
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

  /** The next whole line without its newline (and without a carriage return before it). */
  next(): string | undefined {
    if (this.#overflowed) return undefined;
    // The bytes behind the end are of an older line, or zero.
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
