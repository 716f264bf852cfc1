/** Exit codes of `heddle`; packages/cli/README.md documents them. */
export const exitCodes = {
  ok: 0,
  /** Bad configuration, failed validation, no such service. */
  failed: 1,
  /** Unknown command, option or argument. */
  usage: 2,
  /** The machine or the process lacks something: privileges, BPF, a new enough kernel. */
  notPermitted: 3,
  /** No agent answers on the control socket. */
  unreachable: 4,
  /** Another agent is running. */
  busy: 5,
  /** A bug in Heddle. */
  internal: 70,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** An error that ends the command with a sentence, which includes the remedy, and an exit code. */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/** Errors whose messages are written for users, by the name of their class. */
const plain: Readonly<Record<string, ExitCode>> = {
  ConfigError: exitCodes.failed,
  KubeconfigError: exitCodes.failed,
  SettingError: exitCodes.usage,
  AgentRunning: exitCodes.busy,
  PinsInUse: exitCodes.busy,
  NotSupported: exitCodes.notPermitted,
  SysError: exitCodes.failed,
  NetlinkError: exitCodes.failed,
  VerifierError: exitCodes.failed,
  Incompatible: exitCodes.failed,
  VmFault: exitCodes.failed,
};

/** Returns the exit code and the lines for stderr of an error. */
export function explain(error: unknown): { exitCode: ExitCode; message: string } {
  if (error instanceof Failure) return { exitCode: error.exitCode, message: error.message };
  if (!(error instanceof Error)) return { exitCode: exitCodes.internal, message: String(error) };
  const { code } = error as { code?: string };
  // Classes are compared by name, so that their packages need not be loaded.
  const known = plain[error.name];
  if (known !== undefined) {
    const denied = code === 'EPERM' || code === 'EACCES';
    return { exitCode: denied ? exitCodes.notPermitted : known, message: error.message };
  }
  if (code === 'EPERM' || code === 'EACCES') {
    return { exitCode: exitCodes.notPermitted, message: `${error.message} (run it as root)` };
  }
  // Errors of Node.js on files are for users too, e.g. ENOENT of a --config.
  if (code && 'syscall' in error) return { exitCode: exitCodes.failed, message: error.message };
  return {
    exitCode: exitCodes.internal,
    message: `internal error: ${error.message} (please report it; HEDDLE_DEBUG=1 shows the stack)`,
  };
}
