import { SysError } from '@heddle/sys';
import type { Bpf } from '../bpf.ts';
import { Incompatible } from '../errors.ts';
import { type LinkInfo, readLinkInfo } from '../info.ts';
import { type Feature, features } from '../probes.ts';
import type { BpfProgram } from '../program.ts';
import { attachTypes, BPF_F_AFTER, BPF_F_BEFORE, BPF_F_LINK, nameOf } from '../uapi.ts';

/**
 * The attachment of a program. It ends when its last descriptor is closed and its last pin removed, so
 * pin a link that must outlive the process.
 */
export class BpfLink implements Disposable {
  readonly #bpf: Bpf;
  readonly #name: string;
  /** Negative once closed. */
  #fd: number;

  /** Takes over `fd`. Messages have `name`. */
  constructor(bpf: Bpf, fd: number, name = 'of a descriptor') {
    this.#bpf = bpf;
    this.#fd = fd;
    this.#name = name;
  }

  /** The descriptor. Throws Error once the link is closed. */
  get fd(): number {
    if (this.#fd < 0) throw new Error(`use link ${this.#name}: it is closed`);
    return this.#fd;
  }

  /** Opens a pinned link. Throws SysError (ENOENT: no such pin). */
  static openPinned(bpf: Bpf, path: string): BpfLink {
    return new BpfLink(bpf, bpf.objectGet(path), path);
  }

  /** Opens a link by its id. Throws SysError. */
  static fromId(bpf: Bpf, id: number): BpfLink {
    return new BpfLink(bpf, bpf.openId('link', id), `${id}`);
  }

  /** The present properties: `update` changes the program, an interface may be deleted. Throws SysError. */
  get info(): LinkInfo {
    return readLinkInfo(this.#bpf, this.fd);
  }

  /**
   * Replaces the program by another one of the same type, without a gap. Throws SysError, and
   * Incompatible when the program was loaded for another hook of cgroups.
   */
  update(program: BpfProgram): void {
    const { info } = this;
    // The kernel compares program types only, and would run a connect6 program for connect4.
    if (info.kind === 'cgroup' && program.attachType !== 0) {
      const name = (type: number) => nameOf(attachTypes, type);
      if (info.attachType !== program.attachType) {
        throw new Incompatible(`link for program ${program.name}`, [
          `attach type is ${name(info.attachType)}, wanted ${name(program.attachType)}`,
        ]);
      }
    }
    try {
      this.#bpf.linkUpdate(this.fd, program.fd);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      throw error.about(`update link to program ${program.name}`);
    }
  }

  /** Detaches the program at once, also from a pinned link, which remains without one. Throws SysError. */
  detach(): void {
    this.#bpf.linkDetach(this.fd);
  }

  /** Pins the link at `path`: the attachment then outlives this process. Throws SysError. */
  pin(path: string): void {
    this.#bpf.objectPin(this.fd, path);
  }

  [Symbol.dispose](): void {
    if (this.#fd < 0) return;
    this.#bpf.close(this.#fd);
    this.#fd = -1;
  }
}

/**
 * Makes a link with `create`. An error names the program and the target. Throws NotSupported when the
 * kernel lacks this kind of link.
 */
export function attaching(
  bpf: Bpf,
  program: BpfProgram,
  where: string,
  kind: Feature | undefined,
  create: () => number,
): BpfLink {
  try {
    return new BpfLink(bpf, create(), `of program ${program.name}`);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    // The kind is probed only after a failure. EINVAL has many other reasons.
    if (kind && error.code === 'EINVAL') features(bpf).require(kind);
    throw error.about(`attach program ${program.name} to ${where}`);
  }
}

/** The position among the programs of a network interface. The default is the last one. */
export type LinkPosition =
  | 'first'
  | 'last'
  | { readonly before: BpfLink }
  | { readonly after: BpfLink };

/** Returns `flags` and `relative` of a LinkCreateOptions. */
export function positionFlags(position: LinkPosition | undefined): {
  flags: number;
  relative: number;
} {
  if (position === undefined || position === 'last') return { flags: 0, relative: 0 };
  if (position === 'first') return { flags: BPF_F_BEFORE, relative: 0 };
  return 'before' in position
    ? { flags: BPF_F_BEFORE | BPF_F_LINK, relative: position.before.fd }
    : { flags: BPF_F_AFTER | BPF_F_LINK, relative: position.after.fd };
}
