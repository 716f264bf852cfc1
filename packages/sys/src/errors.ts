import { errnoNames } from './errno.ts';

/** A system call that failed. `code` is the symbolic errno, e.g. `ENOENT`. */
export class SysError extends Error {
  override readonly name: string = 'SysError';
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;

  /** `what` reads `verb noun`, e.g. `open /sys/fs/bpf/x`; `errno` is positive. */
  constructor(syscall: string, errno: number, what: string = syscall) {
    const code = errnoNames[errno] ?? `errno ${errno}`;
    super(
      `${what}: ${code}${code === 'EPERM' ? ` (run as root or with ${neededFor(syscall)})` : ''}`,
    );
    this.code = code;
    this.errno = errno;
    this.syscall = syscall;
  }
}

function neededFor(syscall: string): string {
  const isNamespaces = syscall === 'setns' || syscall === 'unshare';
  return isNamespaces ? 'CAP_SYS_ADMIN' : 'CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON';
}

/** The kernel or this build lacks a feature; `since` names the kernel version that has it. */
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

/** Returns the result of a system call, or throws the SysError that its -errno stands for. */
export function checked(syscall: string, result: number, what?: string): number {
  if (result < 0) throw new SysError(syscall, -result, what);
  return result;
}

/** A host's name has no address, or could not be looked up. */
export class LookupError extends Error {
  override readonly name = 'LookupError';
  readonly host: string;
  /** As getaddrinfo(3) has it: ENOTFOUND for no such name, EAI_AGAIN for no answer. */
  readonly code: string;

  constructor(host: string, code: string) {
    super(`look up ${host}: ${code === 'ENOTFOUND' ? 'no such name' : code}`);
    this.host = host;
    this.code = code;
  }
}

/**
 * Why TLS failed: the server's certificate is by nobody that is trusted, is for other names, is out of
 * its time; the own certificate or key, or a CA, cannot be used; or TLS itself failed, which
 * includes a server that doesn't accept the client's certificate.
 */
export type TlsFailure = 'untrusted' | 'name' | 'time' | 'material' | 'handshake';

/** TLS could not be started, or broke. */
export class TlsError extends Error {
  override readonly name = 'TlsError';
  readonly failure: TlsFailure;

  /** `what` reads `verb noun: cause`. */
  constructor(failure: TlsFailure, what: string) {
    super(what);
    this.failure = failure;
  }
}
