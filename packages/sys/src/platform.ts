/** What one system call takes: a number, an address, or bytes (their address is passed). */
export type SyscallArgument = number | bigint | Uint8Array;

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Values that a log line may carry beside its message. */
export type LogFields = { readonly [name: string]: unknown };

/** An open byte stream (TCP or TLS). Bytes arrive through the handlers given to `connect`. */
export interface ByteStream extends Disposable {
  write(bytes: Uint8Array): void;
}

export interface ByteStreamOptions {
  readonly host: string;
  readonly port: number;
  /** Absent: plain TCP. Certificates and keys are PEM text. */
  readonly tls?: {
    readonly ca?: string;
    readonly cert?: string;
    readonly key?: string;
    readonly serverName?: string;
    readonly insecureSkipVerify?: boolean;
  };
  readonly onOpen: () => void;
  readonly onData: (bytes: Uint8Array) => void;
  /** Called once, also when the connection could not be made; `error` is absent after a clean end. */
  readonly onClose: (error?: Error) => void;
}

/**
 * The only door from Heddle's portable core to the machine it runs on. Everything else that the
 * core uses is ES2023. The Node.js back end is in `node/`; a static binary brings its own.
 */
export interface Platform {
  /** Which table of system call numbers applies. */
  readonly arch: 'x64' | 'arm64';
  /** Processors that a per-CPU map has a value for: the kernel's possible CPUs. */
  readonly possibleCpus: number;
  readonly pageSize: number;

  /**
   * Makes a system call and returns its result, or -errno. Never throws for a failed call.
   * Bytes stay where they are and alive during the call.
   */
  syscall(number: number, ...args: readonly SyscallArgument[]): number;

  /**
   * Address of the first byte, for structures that carry pointers. It is valid as long as the
   * caller holds `bytes`. An empty array has address 0.
   */
  addressOf(bytes: Uint8Array): bigint;

  /** Bytes of mapped memory at `address`, in place. The caller must not use them once unmapped. */
  view(address: number | bigint, length: number): Uint8Array;

  /** Calls `ready` whenever `fd` is readable (level-triggered) until disposed. Keeps the process alive. */
  onReadable(fd: number, ready: () => void): Disposable;

  /** Calls `fire` once after `milliseconds` unless disposed. Keeps the process alive. */
  setTimer(milliseconds: number, fire: () => void): Disposable;

  /** Nanoseconds of CLOCK_MONOTONIC, which is also the clock of bpf_ktime_get_ns(). */
  monotonicNs(): bigint;

  /** Milliseconds since 1970-01-01 UTC. */
  wallTimeMs(): number;

  /** Cryptographically strong random bytes. */
  randomBytes(length: number): Uint8Array;

  /** Opens a byte stream to a server. */
  connect(options: ByteStreamOptions): ByteStream;

  /** Writes one structured log line. */
  log(level: LogLevel, message: string, fields?: LogFields): void;
}
