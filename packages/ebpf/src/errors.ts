import { SysError } from '@heddle/sys';

/** The verifier refused a program. The message has the lines of its log with the reason. */
export class VerifierError extends Error {
  override readonly name = 'VerifierError';
  readonly program: string;
  /** Symbolic errno of BPF_PROG_LOAD, e.g. `EACCES`. */
  readonly code: string;
  // Private, so that printing the error doesn't print megabytes.
  readonly #log: string;

  constructor(program: string, code: string, summary: string, log: string, options?: ErrorOptions) {
    super(`load program ${program}: ${summary}`, options);
    this.program = program;
    this.code = code;
    this.#log = log;
  }

  /** The whole log of the verifier. */
  get log(): string {
    return this.#log;
  }
}

/** An existing kernel object differs from the wanted one. */
export class Incompatible extends Error {
  override readonly name = 'Incompatible';
  /** One sentence for each difference, e.g. `value size is 4, wanted 8`. */
  readonly differences: readonly string[];

  constructor(what: string, differences: readonly string[]) {
    super(`reuse ${what}: ${differences.join('; ')}`);
    this.differences = differences;
  }
}

/** An update with mode `replace` of a key that the map does not have. */
export class KeyNotFound extends SysError {
  override readonly name = 'KeyNotFound';

  /** `what` reads `update map NAME`. */
  constructor(what: string, cause: SysError) {
    super(cause.syscall, cause.errno, what, { words: 'the key does not exist', cause });
  }
}

/** An update with mode `create` of a key that the map has already. */
export class KeyExists extends SysError {
  override readonly name = 'KeyExists';

  /** `what` reads `update map NAME`. */
  constructor(what: string, cause: SysError) {
    super(cause.syscall, cause.errno, what, { words: 'the key exists already', cause });
  }
}

/** A new element for a map that holds as many as it can. */
export class MapFull extends SysError {
  override readonly name = 'MapFull';

  /** `what` reads `update map NAME`. */
  constructor(what: string, maxEntries: number, cause: SysError) {
    const words = `the map is full, it holds at most ${maxEntries} elements`;
    super(cause.syscall, cause.errno, what, { words, cause });
  }
}

/** A batch that stopped on the way, after its first `done` elements. */
export class BatchError extends SysError {
  override readonly name = 'BatchError';
  /** Elements that were written or removed. */
  readonly done: number;

  constructor(cause: SysError, done: number) {
    super(cause.syscall, cause.errno, 'run a batch', { cause });
    this.message = `${cause.message}, after ${done} elements of a batch`;
    this.done = done;
  }
}
