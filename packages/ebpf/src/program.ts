import { decodeCString, errno, SysError } from '@heddle/sys';
import type { Bpf, ProgramLoadOptions, TestRunOptions, TestRunResult } from './bpf.ts';
import { VerifierError } from './errors.ts';
import { type ProgramInfo, readProgramInfo } from './info.ts';
import { summarizeLog } from './verifier-log.ts';

const FIRST_LOG_SIZE = 1 << 18;
/** The kernel's limit of log_size is UINT_MAX / 4. No reader can use a log of that length. */
const LAST_LOG_SIZE = 1 << 26;

/** A program in the kernel. */
export class BpfProgram implements Disposable {
  readonly name: string;
  /** The BPF_* attach type that it was loaded for; 0 if it has none, or was opened by a pin or an id. */
  readonly attachType: number;
  readonly #bpf: Bpf;
  #info: ProgramInfo | undefined;
  /** Negative once closed. */
  #fd: number;

  /** Takes over `fd`. Messages have `name`. */
  constructor(bpf: Bpf, fd: number, name: string, attachType = 0) {
    this.#bpf = bpf;
    this.#fd = fd;
    this.name = name;
    this.attachType = attachType;
  }

  /** The descriptor. Throws Error once the program is closed. */
  get fd(): number {
    if (this.#fd < 0) throw new Error(`use program ${this.name}: it is closed`);
    return this.#fd;
  }

  /**
   * Loads a program. The first attempt has no log, which is faster. After a refusal, another one has a log
   * that is large enough. Throws VerifierError, and SysError when the kernel refused the program before
   * the verifier ran (EPERM, E2BIG, ENOMEM).
   */
  static load(bpf: Bpf, options: Omit<ProgramLoadOptions, 'log'>): BpfProgram {
    const loaded = (fd: number) =>
      new BpfProgram(bpf, fd, options.name, options.expectedAttachType);
    try {
      return loaded(bpf.programLoad(options));
    } catch (error) {
      // The verifier accepted the program: a second attempt would have its log, without a reason.
      if (!(error instanceof SysError) || isShortage(error)) throw error;
      const log = readLog(bpf, options);
      if (typeof log === 'number') return loaded(log);
      if (log === '') throw error;
      throw new VerifierError(options.name, error.code, summarizeLog(log), log, { cause: error });
    }
  }

  /** Opens a pinned program. Throws SysError. */
  static openPinned(bpf: Bpf, path: string): BpfProgram {
    return named(bpf, bpf.objectGet(path));
  }

  /** Opens a program by its id. Throws SysError. */
  static fromId(bpf: Bpf, id: number): BpfProgram {
    return named(bpf, bpf.openId('program', id));
  }

  /** Properties of the program, read once. Throws SysError. */
  get info(): ProgramInfo {
    this.#info ??= readProgramInfo(this.#bpf, this.fd);
    return this.#info;
  }

  /**
   * Runs the program in the kernel on the given packet and context (BPF_PROG_TEST_RUN). It works for
   * xdp, tc, sk_lookup, cgroup_skb, netfilter, flow_dissector, raw_tp and syscall programs. The packet may
   * grow by 256 bytes, or up to `dataRoom`. Throws SysError (ENOTSUPP for other types of programs, ENOSPC
   * for too little room).
   */
  testRun(run: TestRunOptions = {}): TestRunResult {
    const dataRoom = run.dataRoom ?? (run.data ? run.data.length + 256 : 0);
    try {
      return this.#bpf.programTestRun(this.fd, { ...run, dataRoom });
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      const what = `test-run program ${this.name}`;
      if (error.errno !== errno.ENOTSUPP) throw error.about(what);
      const words = 'its type has no test run';
      throw new SysError('bpf', error.errno, what, { words, cause: error });
    }
  }

  /** Pins the program at `path`. Throws SysError. */
  pin(path: string): void {
    this.#bpf.objectPin(this.fd, path);
  }

  /** Closes the descriptor. A program that is attached or pinned remains. */
  [Symbol.dispose](): void {
    if (this.#fd < 0) return;
    this.#bpf.close(this.#fd);
    this.#fd = -1;
  }
}

/** Returns true if the error is a lack of descriptors or memory. */
function isShortage({ errno: code }: SysError): boolean {
  return code === errno.EMFILE || code === errno.ENFILE || code === errno.ENOMEM;
}

function named(bpf: Bpf, fd: number): BpfProgram {
  try {
    return new BpfProgram(bpf, fd, readProgramInfo(bpf, fd).name);
  } catch (error) {
    bpf.close(fd);
    throw error;
  }
}

/** Returns the whole log of a load that fails, or the descriptor if it succeeds this time. */
function readLog(bpf: Bpf, options: Omit<ProgramLoadOptions, 'log'>): string | number {
  for (let size = FIRST_LOG_SIZE; ; size *= 4) {
    const log = new Uint8Array(size);
    try {
      return bpf.programLoad({ ...options, log });
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      // ENOSPC: the log did not fit. The kernel then keeps its end, before Linux 6.4 its beginning.
      if (error.errno === errno.ENOSPC && size < LAST_LOG_SIZE) continue;
      return decodeCString(log);
    }
  }
}
