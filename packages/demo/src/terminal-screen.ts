import { writeSync } from 'node:fs';
import { emitKeypressEvents, type Key } from 'node:readline';
import type { ViewSize } from './view.ts';

const clear = '\x1b[2J';
const enter = `\x1b[?1049h\x1b[?25l${clear}`;
const leave = '\x1b[?25h\x1b[?1049l';
// Synchronized output (DEC mode 2026): terminals that support it draw the update at once.
const beginUpdate = '\x1b[?2026h';
const endUpdate = '\x1b[?2026l';

/**
 * The terminal in the mode of the live view: alternate screen, no cursor, raw keys. Writes only
 * lines that changed. Disposing it restores the terminal.
 */
export class TerminalScreen implements Disposable {
  readonly #input = process.stdin;
  readonly #output = process.stdout;
  readonly #onKey: (key: string) => void;
  readonly #onResize: () => void;
  #shown: readonly string[] = [];
  #cleared = true;
  #open = true;

  /** `onKey` receives the name of each key, with `q` for Ctrl-C. `onResize` must draw again. */
  constructor(onKey: (key: string) => void, onResize: () => void) {
    this.#onKey = onKey;
    this.#onResize = onResize;
    this.#output.write(enter);
    this.#output.on('resize', this.#resized);
    if (!this.hasKeys) return;
    this.#input.setRawMode(true);
    emitKeypressEvents(this.#input);
    this.#input.on('keypress', this.#typed);
  }

  get hasKeys(): boolean {
    return this.#input.isTTY === true;
  }

  get size(): ViewSize {
    return { columns: this.#output.columns || 80, rows: this.#output.rows || 24 };
  }

  draw(lines: readonly string[]): void {
    if (!this.#open) return;
    let changes = this.#cleared ? '' : clear;
    this.#cleared = true;
    for (let row = 0; row < Math.max(lines.length, this.#shown.length); row++) {
      const line = lines[row] ?? '';
      if (line !== this.#shown[row]) changes += `\x1b[${row + 1};1H${line}\x1b[K`;
    }
    if (changes !== '') this.#output.write(`${beginUpdate}${changes}${endUpdate}`);
    this.#shown = lines;
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    this.#output.off('resize', this.#resized);
    if (this.hasKeys) {
      this.#input.off('keypress', this.#typed);
      this.#input.pause();
      this.#setCooked();
    }
    this.#leave();
  }

  /** Leaves the alternate screen synchronously, because the process may be about to end. */
  #leave(): void {
    for (let attempt = 0; attempt < 50; attempt++) {
      try {
        writeSync(this.#output.fd, leave);
        return;
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        // A closed terminal (SIGHUP) needs no restoring.
        if (code === 'EIO' || code === 'EPIPE') return;
        if (code !== 'EAGAIN') throw error;
        // The terminal hasn't read all of the last update yet.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
      }
    }
  }

  #setCooked(): void {
    try {
      this.#input.setRawMode(false);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EIO') throw error;
    }
  }

  readonly #resized = (): void => {
    this.#shown = [];
    this.#cleared = false;
    this.#onResize();
  };

  readonly #typed = (_: string | undefined, { name, ctrl, meta }: Key): void => {
    if (ctrl && name === 'c') this.#onKey('q');
    else if (name && !ctrl && !meta) this.#onKey(name);
  };
}
