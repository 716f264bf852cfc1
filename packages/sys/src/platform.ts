/** What one system call takes: a number, an address, or bytes (their address is passed). */
export type SyscallArgument = number | bigint | Uint8Array;

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Values that a log line may carry beside its message. */
export type LogFields = { readonly [name: string]: unknown };

export interface TlsOptions {
  /** Certificates (PEM) that are trusted. Absent: those that the machine trusts. */
  readonly ca?: string;
  /** The client's own certificate and its key (PEM), both or none. */
  readonly cert?: string;
  readonly key?: string;
  /** Name or IP address that the server's certificate must have. Absent: the stream's host. */
  readonly serverName?: string;
  /** Accept whatever certificate the server has. */
  readonly insecureSkipVerify?: boolean;
}

export interface ByteStreamOptions {
  /** A name, or an IP address (IPv6 without brackets). */
  readonly host: string;
  readonly port: number;
  /**
   * Called with all addresses that the host stands for, in any form that parseIp reads, before the
   * connection to one of them is made.
   */
  readonly onAddresses?: (addresses: readonly string[]) => void;
  readonly onOpen: () => void;
  /** What has come. The bytes belong to the receiver. */
  readonly onData: (bytes: Uint8Array) => void;
  /**
   * Called once, also when the connection could not be made; `error` is absent after a clean end.
   * It is a SysError, LookupError or TlsError. Nothing is called after the stream was disposed.
   */
  readonly onClose: (error?: Error) => void;
}

/**
 * A byte stream to a server: TCP, probed after 30 s of silence and given up when ten probes, a second
 * apart, bring no answer.
 */
export interface ByteStream extends Disposable {
  /** Sends bytes, once open. They must not change afterwards. */
  write(bytes: Uint8Array): void;
  /**
   * Goes on in TLS 1.2 or newer, once open and before the server has sent what belongs to TLS. From
   * `onSecure` on, `write` and `onData` are the plain text. A second call is TLS within TLS.
   */
  startTls(options: TlsOptions, onSecure: () => void): void;
}

export interface RunOptions {
  /** A path, or a name that is looked up in PATH of `env`. No shell is involved. */
  readonly command: string;
  readonly args: readonly string[];
  /** All of its environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface RunResult {
  /** Absent when the command could not be started or was killed; then `error` says so. */
  readonly exitCode?: number;
  /** At most 1 MiB each; a command that writes more is killed. */
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
  readonly error?: Error;
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

  /** Runs a command without input; disposing kills it, and `onExit` is then not called. */
  run(options: RunOptions, onExit: (result: RunResult) => void): Disposable;

  /** Writes one structured log line. */
  log(level: LogLevel, message: string, fields?: LogFields): void;
}
