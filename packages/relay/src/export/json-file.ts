import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { ProblemLog } from '@heddle/hubble';

/** The settings of an exported file. */
export interface JsonFileSettings {
  readonly path: string;
  /** A file of this size is renamed to PATH.1, that one to PATH.2, and so on. */
  readonly bytesMax: number;
  /** The number of files, with the one that is written. */
  readonly filesMax: number;
  readonly log: (message: string) => void;
}

/** Lines that wait for the disk take this many bytes at most; what comes beyond is lost and counted. */
const queueMax = 4 * 1024 * 1024;
/** After a failed write the file is opened again after this time, in milliseconds. */
const retryMs = 5000;

/** Writes lines to a file that is rotated by size. A slow disk delays nothing: lines are lost and counted. */
export class JsonFile implements AsyncDisposable {
  readonly #settings: JsonFileSettings;
  #queue: string[] = [];
  #queued = 0;
  #lost = 0;
  #size = 0;
  #file: FileHandle | undefined;
  #writing: Promise<void> | undefined;
  readonly #problems: ProblemLog;
  #retryAt = 0;

  constructor(settings: JsonFileSettings) {
    this.#settings = settings;
    this.#problems = new ProblemLog(settings.log);
  }

  /** The lines that were lost. */
  get lost(): number {
    return this.#lost;
  }

  /** Adds a line, without its end. */
  add(line: string): void {
    if (this.#queued + line.length > queueMax) {
      this.#lost++;
      return;
    }
    this.#queue.push(line);
    this.#queued += line.length + 1;
    this.#writing ??= this.#write();
  }

  /** Writes what waits, and closes the file. */
  async close(): Promise<void> {
    await this.#writing;
    await this.#file?.close();
    this.#file = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #write(): Promise<void> {
    // Lines of one moment are written together.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#queue.length > 0) {
      const lines = this.#queue;
      this.#queue = [];
      this.#queued = 0;
      if (Date.now() < this.#retryAt) {
        this.#lost += lines.length;
        continue;
      }
      let left = lines.length;
      try {
        for (const part of this.#parts(lines)) {
          await this.#append(Buffer.concat(part));
          left -= part.length;
        }
        this.#report('');
      } catch (error) {
        this.#lost += left;
        this.#retryAt = Date.now() + retryMs;
        await this.#file?.close().catch(() => {});
        this.#file = undefined;
        this.#report(error instanceof Error ? error.message : String(error));
      }
    }
    this.#writing = undefined;
  }

  /** Returns lines in parts of which each fits into a file; a longer line is a part of its own. */
  *#parts(lines: readonly string[]): Generator<Buffer[]> {
    let [part, size] = [[] as Buffer[], 0];
    for (const line of lines) {
      const bytes = Buffer.from(`${line}\n`);
      if (size > 0 && size + bytes.length > this.#settings.bytesMax) {
        yield part;
        [part, size] = [[], 0];
      }
      part.push(bytes);
      size += bytes.length;
    }
    yield part;
  }

  async #append(bytes: Buffer): Promise<void> {
    const { path, bytesMax } = this.#settings;
    if (this.#file && this.#size > 0 && this.#size + bytes.length > bytesMax) await this.#rotate();
    if (!this.#file) {
      this.#file = await open(path, 'a', 0o640);
      this.#size = (await this.#file.stat()).size;
    }
    await this.#file.appendFile(bytes);
    this.#size += bytes.length;
  }

  async #rotate(): Promise<void> {
    const { path, filesMax } = this.#settings;
    await this.#file?.close();
    this.#file = undefined;
    if (filesMax <= 1) {
      await rm(path, { force: true });
      return;
    }
    await rm(`${path}.${filesMax - 1}`, { force: true });
    for (let number = filesMax - 2; number >= 0; number--) {
      const from = number === 0 ? path : `${path}.${number}`;
      await rename(from, `${path}.${number + 1}`).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
      });
    }
  }

  #report(problem: string): void {
    const { path } = this.#settings;
    const text = problem && `flows are not written to ${path}: ${problem}`;
    this.#problems.report(path, text, `flows are written to ${path} again`);
  }
}
