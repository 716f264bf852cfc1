import { SysError } from '@heddle/sys';

/** The verifier refused a program. The message has its telling lines. */
export class VerifierError extends Error {
  override readonly name = 'VerifierError';
  readonly program: string;
  /** Symbolic errno of BPF_PROG_LOAD, e.g. `EACCES`. */
  readonly code: string;
  // Private, so that printing the error doesn't print megabytes.
  readonly #log: string;

  constructor(program: string, code: string, summary: string, log: string) {
    super(`load program ${program}: ${summary}`);
    this.program = program;
    this.code = code;
    this.#log = log;
  }

  /** All that the verifier wrote. */
  get log(): string {
    return this.#log;
  }
}

/** A kernel object that exists isn't what was asked for; each difference is a sentence. */
export class Incompatible extends Error {
  override readonly name = 'Incompatible';
  readonly differences: readonly string[];

  constructor(what: string, differences: readonly string[]) {
    super(`reuse ${what}: ${differences.join('; ')}`);
    this.differences = differences;
  }
}

/** A batch that stopped on the way: its first `done` elements are in force. */
export class BatchError extends SysError {
  override readonly name = 'BatchError';
  readonly done: number;

  constructor(cause: SysError, what: string, done: number) {
    super(cause.syscall, cause.errno, what);
    this.done = done;
  }
}
