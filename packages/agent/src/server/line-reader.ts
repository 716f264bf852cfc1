import { decodeUtf8 } from '@heddle/sys';

const newline = 0x0a;

/**
 * Cuts a stream of bytes into lines. It holds at most one line that is too long by a chunk: once
 * `overflowed` is set, it takes nothing more.
 */
export class LineReader {
  readonly #longest: number;
  #bytes = new Uint8Array(0);
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
    const held = this.#bytes.subarray(this.#start);
    const joined = new Uint8Array(held.length + chunk.length);
    joined.set(held);
    joined.set(chunk, held.length);
    this.#scanned -= this.#start;
    this.#start = 0;
    this.#bytes = joined;
  }

  /** The next whole line without its newline (and without a carriage return before it). */
  next(): string | undefined {
    if (this.#overflowed) return undefined;
    const end = this.#bytes.indexOf(newline, this.#scanned);
    if (end < 0) this.#scanned = this.#bytes.length;
    if ((end < 0 ? this.#bytes.length : end) - this.#start > this.#longest) {
      this.#overflowed = true;
      this.#bytes = new Uint8Array(0);
      this.#start = this.#scanned = 0;
      return undefined;
    }
    if (end < 0) return undefined;
    const line = this.#bytes.subarray(
      this.#start,
      this.#bytes[end - 1] === 0x0d && end > this.#start ? end - 1 : end,
    );
    this.#start = this.#scanned = end + 1;
    return decodeUtf8(line);
  }
}
