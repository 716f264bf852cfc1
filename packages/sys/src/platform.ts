/** An argument of a system call: a number, an address, or bytes, whose address is passed. */
export type SyscallArgument = number | bigint | Uint8Array;

/** The severity of a log line. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Values in a log line beside its message. */
export type LogFields = { readonly [name: string]: unknown };

/** Options of TLS. */
export interface TlsOptions {
  /** Trusted certificates (PEM). The default is those of the system's trust store. */
  readonly ca?: string;
  /** The client's certificate and its key (PEM), both or none. */
  readonly cert?: string;
  readonly key?: string;
  /** The name or IP address that the server's certificate must have. The default is the stream's host. */
  readonly serverName?: string;
  /** Accepts any certificate of the server. */
  readonly insecureSkipVerify?: boolean;
}

/** Options and callbacks of a byte stream. */
export interface ByteStreamOptions {
  /** A name, or an IP address (IPv6 without brackets). */
  readonly host: string;
  readonly port: number;
  /**
   * Called with all addresses of the host, in a form that parseIp reads, before the connection to one of
   * them is made.
   */
  readonly onAddresses?: (addresses: readonly string[]) => void;
  readonly onOpen: () => void;
  /** Called with received bytes, which belong to the receiver. */
  readonly onData: (bytes: Uint8Array) => void;
  /**
   * Called once at the end, also when the connection could not be made. `error` is a SysError, LookupError or
   * TlsError, and absent after a regular end. Nothing is called after disposal.
   */
  readonly onClose: (error?: Error) => void;
}

/**
 * A byte stream to a server over TCP. Keepalive probes begin after 30 s of silence. After ten of them
 * without a response, one each second, the stream ends.
 */
export interface ByteStream extends Disposable {
  /** Sends bytes over the open stream. They must not change afterwards. */
  write(bytes: Uint8Array): void;
  /**
   * Starts TLS 1.2 or newer over the open stream, before the server has sent bytes of it. From `onSecure`
   * on, `write` and `onData` have the plain text. A second call starts TLS within TLS.
   */
  startTls(options: TlsOptions, onSecure: () => void): void;
}

/** A command to run. */
export interface RunOptions {
  /** A path, or a name that is searched in PATH of `env`. There is no shell. */
  readonly command: string;
  readonly args: readonly string[];
  /** The whole environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The result of a command. */
export interface RunResult {
  /** Absent when the command could not be started or was killed; then there is an `error`. */
  readonly exitCode?: number;
  /** The output, at most 1 MiB each. A command that writes more is killed. */
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
  readonly error?: Error;
}

/**
 * The interface of the portable core to the operating system. Everything else in the core is ES2023. The
 * implementation for Node.js is in `node/`; the static binary has another one.
 */
export interface Platform {
  /** The architecture, which determines the numbers of system calls. */
  readonly arch: 'x64' | 'arm64';
  /** The number of the kernel's possible CPUs, each of which has a value in per-CPU maps. */
  readonly possibleCpus: number;
  readonly pageSize: number;

  /**
   * Makes a system call and returns its result, or -errno. A failed call does not throw. Bytes are not moved
   * or collected during the call.
   */
  syscall(number: number, ...args: readonly SyscallArgument[]): number;

  /**
   * Returns the address of the first byte, for structures with pointers. It is valid while the caller holds
   * `bytes`. An empty array has address 0.
   */
  addressOf(bytes: Uint8Array): bigint;

  /** Returns the mapped memory at `address`, in place. The caller must not use it after munmap(2). */
  view(address: number | bigint, length: number): Uint8Array;

  /** Calls `ready` whenever `fd` is readable (level-triggered) until disposed. Keeps the process alive. */
  onReadable(fd: number, ready: () => void): Disposable;

  /** Calls `fire` once after `milliseconds` unless disposed. Keeps the process alive. */
  setTimer(milliseconds: number, fire: () => void): Disposable;

  /** Returns nanoseconds of CLOCK_MONOTONIC, which is also the clock of bpf_ktime_get_ns(). */
  monotonicNs(): bigint;

  /** Returns milliseconds since 1970-01-01 UTC. */
  wallTimeMs(): number;

  /** Returns cryptographically strong random bytes. */
  randomBytes(length: number): Uint8Array;

  /** Opens a byte stream to a server. */
  connect(options: ByteStreamOptions): ByteStream;

  /** Runs a command without input. Disposal kills it, and `onExit` is then not called. */
  run(options: RunOptions, onExit: (result: RunResult) => void): Disposable;

  /** Writes one structured log line. */
  log(level: LogLevel, message: string, fields?: LogFields): void;
}
