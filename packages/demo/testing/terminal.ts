import { closeSync, createReadStream, openSync, writeSync } from 'node:fs';
import { checked, type Platform, syscallNumbers } from '@heddle/sys';

// asm-generic/ioctls.h
const TCGETS = 0x5401;
const TIOCSWINSZ = 0x5414;
const TIOCGPTN = 0x80045430;
const TIOCSPTLCK = 0x40045431;

/** A terminal for a process under test: a pty, and what is to be seen on it. */
export class Terminal implements Disposable {
  readonly #platform: Platform;
  readonly #master: number;
  /** To be given to the process as stdin and stdout. */
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
    // EIO, once nobody has the other end open any more.
    reader.on('error', () => {});
  }

  /** All that was written to it. */
  get output(): string {
    return this.#output;
  }

  /** The lines as they stand now, without colours, if each was written to a row of its own. */
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

  /** The settings (struct termios) as they are. */
  get settings(): Uint8Array {
    const settings = new Uint8Array(64);
    this.#control(this.slave, TCGETS, settings);
    return settings;
  }

  /** The process learns of it by SIGWINCH, which the caller sends: it has no controlling terminal. */
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
    // The reader, too, ends when the last of the slave's descriptors is closed.
    closeSync(this.slave);
  }

  #control(fd: number, request: number, argument: Uint8Array): void {
    const nr = syscallNumbers(this.#platform).ioctl;
    checked('ioctl', this.#platform.syscall(nr, fd, request, argument));
  }
}
