import { type errno, errnoNames, errnoText } from './errno.ts';

/** Optional parts of a SysError. */
export interface SysErrorOptions {
  /** The meaning of the code for this call, in place of the text of strerror(3). */
  readonly words?: string | undefined;
  /** Advice for the user about the cause. It ends the message. */
  readonly hint?: string | undefined;
  /** The error that led to this one. */
  readonly cause?: unknown;
}

/**
 * A system call that failed. The message reads `open /sys/fs/bpf/x: no such file or directory
 * (ENOENT)`, with a hint behind a semicolon where the caller knows one.
 */
export class SysError extends Error {
  override readonly name: string = 'SysError';
  /** The symbolic errno, e.g. `ENOENT`. */
  readonly code: string;
  /** The positive errno value. */
  readonly errno: number;
  readonly syscall: string;
  readonly hint: string | undefined;
  readonly #words: string | undefined;

  /** `what` reads `verb noun`, e.g. `open /sys/fs/bpf/x`; `errno` is positive. */
  constructor(
    syscall: string,
    errno: number,
    what: string = syscall,
    { words, hint, cause }: SysErrorOptions = {},
  ) {
    super(
      `${what}: ${errnoText(errno, words)}${hint === undefined ? '' : `; ${hint}`}`,
      cause === undefined ? undefined : { cause },
    );
    this.code = errnoNames[errno] ?? `errno ${errno}`;
    this.errno = errno;
    this.syscall = syscall;
    this.hint = hint;
    this.#words = words;
  }

  /** Returns an error about `what`, with the same code, words and hint. This one is its cause. */
  about(what: string): SysError {
    const options = { words: this.#words, hint: this.hint, cause: this };
    return new SysError(this.syscall, this.errno, what, options);
  }
}

/** The kernel or this build lacks a feature. `since` is the first kernel version with it. */
export class NotSupported extends Error {
  override readonly name = 'NotSupported';
  readonly feature: string;
  readonly since: string;

  constructor(feature: string, since: string) {
    super(`use ${feature}: not supported by this kernel (needs Linux ${since})`);
    this.feature = feature;
    this.since = since;
  }
}

/** Advice for the user about a failure, by the symbolic errno: `{ EPERM: 'run as root' }`. */
export type Remedies = Readonly<Partial<Record<keyof typeof errno, string>>>;

/**
 * Returns the result of a system call. Throws SysError if it is -errno, with the remedy for that code if
 * there is one.
 */
export function checked(
  syscall: string,
  result: number,
  what?: string,
  remedies: Remedies = {},
): number {
  if (result >= 0) return result;
  const hint = remedies[errnoNames[-result] as keyof Remedies];
  throw new SysError(syscall, -result, what, { hint });
}

/** The name of a host has no address, or the lookup failed. */
export class LookupError extends Error {
  override readonly name = 'LookupError';
  readonly host: string;
  /** The code of getaddrinfo(3): ENOTFOUND for an unknown name, EAI_AGAIN for no response. */
  readonly code: string;

  constructor(host: string, code: string) {
    super(`look up ${host}: ${code === 'ENOTFOUND' ? 'no such name' : code}`);
    this.host = host;
    this.code = code;
  }
}

/**
 * The reason of a TLS failure: the server's certificate was issued by an unknown CA (`untrusted`), is for
 * other names (`name`), has expired or is not yet valid (`time`); the client's certificate, its key or a CA
 * can't be used (`material`); or the handshake failed, e.g. because the server refused the client's
 * certificate (`handshake`).
 */
export type TlsFailure = 'untrusted' | 'name' | 'time' | 'material' | 'handshake';

/** TLS could not be started, or failed later. */
export class TlsError extends Error {
  override readonly name = 'TlsError';
  readonly failure: TlsFailure;

  /** `what` reads `verb noun: cause`. */
  constructor(failure: TlsFailure, what: string) {
    super(what);
    this.failure = failure;
  }
}
