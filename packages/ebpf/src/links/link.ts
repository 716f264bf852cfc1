import { SysError } from '@heddle/sys';
import type { Bpf } from '../bpf.ts';
import { type LinkInfo, readLinkInfo } from '../info.ts';
import type { BpfProgram } from '../program.ts';

/**
 * A program's place in the kernel. It is taken away when the last descriptor and the last pin are
 * gone, so an attachment that shall outlive the process is pinned.
 */
export class Link implements Disposable {
  readonly fd: number;
  readonly #bpf: Bpf;
  #open = true;

  /** Takes over `fd`. */
  constructor(bpf: Bpf, fd: number) {
    this.#bpf = bpf;
    this.fd = fd;
  }

  /** Opens a pinned link. Throws SysError (ENOENT: no such pin). */
  static openPinned(bpf: Bpf, path: string): Link {
    return new Link(bpf, bpf.objectGet(path));
  }

  /** Opens a link by its id. Throws SysError. */
  static fromId(bpf: Bpf, id: number): Link {
    return new Link(bpf, bpf.openId('link', id));
  }

  /** What the kernel says now: the program changes with `update`, a device may have gone. */
  get info(): LinkInfo {
    return readLinkInfo(this.#bpf, this.fd);
  }

  /** Puts another program of the same type in this place, without a gap. Throws SysError. */
  update(program: BpfProgram): void {
    try {
      this.#bpf.linkUpdate(this.fd, program.fd);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      throw new SysError('bpf', error.errno, `update link to program ${program.name}`);
    }
  }

  /** Takes the program away now, pins or not; the link stays as an empty shell. Throws SysError. */
  detach(): void {
    this.#bpf.linkDetach(this.fd);
  }

  /** Keeps the attachment beyond the life of this process. Throws SysError. */
  pin(path: string): void {
    this.#bpf.objectPin(this.fd, path);
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    this.#bpf.close(this.fd);
  }
}

/** Runs `create`, and says in its error which program should have gone where. */
export function attaching(program: BpfProgram, where: string, create: () => number): number {
  try {
    return create();
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    throw new SysError('bpf', error.errno, `attach program ${program.name} to ${where}`);
  }
}
