import { closeSync, createReadStream, openSync, writeSync } from 'node:fs';
import { checked, type Platform, syscallNumbers } from '@heddle/sys';

// asm-generic/ioctls.h
const TCGETS = 0x5401;
const TIOCSWINSZ = 0x5414;
const TIOCGPTN = 0x80045430;
const TIOCSPTLCK = 0x40045431;

/** A terminal for a process under test: a pty, and the screen that it shows. */
export class Terminal implements Disposable {
  readonly #platform: Platform;
  readonly #master: number;
  /** The descriptor to pass to the process as stdin and stdout. */
  readonly slave: number;
  #output = '';

  constructor(platform: Platform, columns: number, rows: number) {
    this.#platform = platform;
    this.#master = openSync('/dev/ptmx', 'r+');
    const number = new Uint8Array(4);
    this.#control(this.#master, TIOCSPTLCK, new Uint8Array(4));
    this.#control(this.#master, TIOCGPTN, number);
    this.slave = openSync(`/dev/pts/${new DataView(number.buffer).getUint32(0, true)}`, 'r+');
    this.resize(columns, rows);
    const reader = createReadStream('', { fd: this.#master, encoding: 'utf8', autoClose: false });
    reader.on('data', (text) => {
      this.#output += text;
    });
    // EIO after the other end is closed.
    reader.on('error', () => {});
  }

  /** The whole output of the process. */
  get output(): string {
    return this.#output;
  }

  /** The lines on the screen without colours. Lines must have been written one per row. */
  get screen(): string[] {
    const lines: string[] = [];
    const shown = this.#output.slice(this.#output.lastIndexOf('\x1b[2J') + 4);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what a terminal reads
    for (const [, row, text] of shown.matchAll(/\x1b\[(\d+);1H(.*?)\x1b\[K/gs)) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: as above
      lines[Number(row) - 1] = text!.replace(/\x1b\[[0-9;]*m/g, '');
    }
    return Array.from(lines, (line) => line ?? '');
  }

  /** The present settings (struct termios). */
  get settings(): Uint8Array {
    const settings = new Uint8Array(64);
    this.#control(this.slave, TCGETS, settings);
    return settings;
  }

  /**
   * Sets the size. The caller must send SIGWINCH, because this is not the process's controlling
   * terminal.
   */
  resize(columns: number, rows: number): void {
    this.#control(
      this.#master,
      TIOCSWINSZ,
      new Uint8Array(Uint16Array.of(rows, columns, 0, 0).buffer),
    );
  }

  type(text: string): void {
    writeSync(this.#master, text);
  }

  [Symbol.dispose](): void {
    // The reader ends when the last descriptor of the slave is closed.
    closeSync(this.slave);
  }

  #control(fd: number, request: number, argument: Uint8Array): void {
    const nr = syscallNumbers(this.#platform).ioctl;
    checked('ioctl', this.#platform.syscall(nr, fd, request, argument));
  }
}
