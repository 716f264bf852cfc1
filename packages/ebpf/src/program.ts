import { decodeCString, errno, SysError } from '@heddle/sys';
import type { Bpf, ProgramLoadOptions, TestRunOptions, TestRunResult } from './bpf.ts';
import { VerifierError } from './errors.ts';
import { type ProgramInfo, readProgramInfo } from './info.ts';
import { summarizeLog } from './verifier-log.ts';

const FIRST_LOG_SIZE = 1 << 18;
/** The kernel's limit for log_size is UINT_MAX / 4; a log that long is of no use to anybody. */
const LAST_LOG_SIZE = 1 << 26;

/** A program in the kernel. */
export class BpfProgram implements Disposable {
  readonly name: string;
  /** BPF_* attach type that it was loaded for; 0 when it has none or came from a pin or an id. */
  readonly attachType: number;
  readonly #bpf: Bpf;
  #info: ProgramInfo | undefined;
  /** Negative once closed. */
  #fd: number;

  /** Takes over `fd`. `name` is for messages. */
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
   * Loads a program. The first try asks for no log, which is the fast way; a refusal is repeated
   * with a log large enough for all of it. Throws VerifierError, or SysError when the kernel
   * refused before the verifier had a word (EPERM, E2BIG, ENOMEM).
   */
  static load(bpf: Bpf, options: Omit<ProgramLoadOptions, 'log'>): BpfProgram {
    const loaded = (fd: number) =>
      new BpfProgram(bpf, fd, options.name, options.expectedAttachType);
    try {
      return loaded(bpf.programLoad(options));
    } catch (error) {
      // The verifier had no part in these: it would accept the program once more, and say so in its log.
      if (!(error instanceof SysError) || isShortage(error)) throw error;
      const log = readLog(bpf, options);
      if (typeof log === 'number') return loaded(log);
      if (log === '') throw error;
      throw new VerifierError(options.name, error.code, summarizeLog(log), log);
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

  get info(): ProgramInfo {
    this.#info ??= readProgramInfo(this.#bpf, this.fd);
    return this.#info;
  }

  /**
   * Runs the program in the kernel on the given packet and context (BPF_PROG_TEST_RUN). Works for
   * xdp, tc, sk_lookup, cgroup_skb, netfilter, flow_dissector, raw_tp and syscall programs; the
   * kernel answers others with ENOTSUPP. A packet may grow by 256 bytes unless `dataRoom` says
   * otherwise. Throws SysError (ENOSPC: too little room).
   */
  testRun(run: TestRunOptions = {}): TestRunResult {
    const dataRoom = run.dataRoom ?? (run.data ? run.data.length + 256 : 0);
    try {
      return this.#bpf.programTestRun(this.fd, { ...run, dataRoom });
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      const hint = error.errno === errno.ENOTSUPP ? ' (its type has no test run)' : '';
      throw new SysError('bpf', error.errno, `test-run program ${this.name}${hint}`);
    }
  }

  /** Makes the program reachable under `path`. Throws SysError. */
  pin(path: string): void {
    this.#bpf.objectPin(this.fd, path);
  }

  /** Closes the descriptor; a program that is attached or pinned lives on. */
  [Symbol.dispose](): void {
    if (this.#fd < 0) return;
    this.#bpf.close(this.#fd);
    this.#fd = -1;
  }
}

/** Descriptors or memory were missing. */
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

/** The verifier's whole log of a load that fails, or the descriptor if it succeeds this time. */
function readLog(bpf: Bpf, options: Omit<ProgramLoadOptions, 'log'>): string | number {
  for (let size = FIRST_LOG_SIZE; ; size *= 4) {
    const log = new Uint8Array(size);
    try {
      return bpf.programLoad({ ...options, log });
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      // ENOSPC: the log didn't fit. Since 6.4 its end is kept then, before that its beginning.
      if (error.errno === errno.ENOSPC && size < LAST_LOG_SIZE) continue;
      return decodeCString(log);
    }
  }
}
