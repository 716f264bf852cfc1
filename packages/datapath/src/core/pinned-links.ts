import { type Bpf, BpfLink, type BpfProgram, type LinkInfo } from '@heddle/ebpf';
import {
  allOrNothing,
  isMissing,
  makeDirectory,
  type Platform,
  pathExists,
  readDirectory,
  removeFile,
  SysError,
} from '@heddle/sys';
import type { Damage } from './audit.ts';
import type { PinFolder } from './pinned-maps.ts';

/** A link in use, what it should be attached to, and the program that it should run. */
interface Held {
  readonly link: BpfLink;
  readonly id: number;
  readonly programId: number;
  readonly isInPlace: (info: LinkInfo) => boolean;
}

/** A hook that a program is attached to. */
export interface Attachment {
  /** The name of the pin. */
  readonly name: string;
  readonly program: BpfProgram;
  /** Returns true when a link is attached to this hook. */
  readonly isInPlace: (info: LinkInfo) => boolean;
  /** Makes a link to this hook. */
  readonly attach: () => BpfLink;
}

/**
 * Links that outlive the agent by their pins. While the agent runs it keeps them open, so that a program stays attached
 * when another process removes its pin, and the pin can be restored.
 */
export class PinnedLinks implements Disposable {
  readonly #bpf: Bpf;
  readonly #platform: Platform;
  readonly folders: readonly PinFolder[];
  readonly #held = new Map<string, Held>();

  /** The first of the folders is this version's, the others are of other layouts. */
  constructor(bpf: Bpf, platform: Platform, folders: readonly PinFolder[]) {
    this.#bpf = bpf;
    this.#platform = platform;
    this.folders = folders;
  }

  /**
   * Attaches a program to a hook. An existing link, held or pinned also by another layout, gets it without a gap;
   * otherwise a new link is made. The link is pinned in this layout's folder. Throws SysError, Incompatible.
   */
  attach({ name, program, isInPlace, attach }: Attachment): void {
    const own = this.folders[0]!;
    makeDirectory(this.#platform, own.links);
    const programId = program.info.id;
    const held = this.#held.get(name);
    if (held && isInPlace(held.link.info)) {
      if (held.link.info.programId !== programId) held.link.update(program);
      this.#held.set(name, { ...held, programId, isInPlace });
      this.pin(name);
      return;
    }
    const pinned = openLink(this.#bpf, this.folders, name);
    if (pinned && this.#takeOver(name, pinned.link, program, isInPlace)) {
      if (pinned.folder !== own) this.pin(name);
      return;
    }
    // The target of the link was removed or is another one, or another process has detached the link.
    this.#hold(name, attach(), programId, isInPlace);
    this.pin(name);
  }

  /** Detaches and unpins the links, in all folders, for whose names `isOther` returns true. Throws SysError. */
  detach(isOther: (name: string) => boolean): void {
    for (const folder of this.folders) {
      if (!pathExists(this.#platform, folder.links)) continue;
      for (const { name } of readDirectory(this.#platform, folder.links)) {
        if (!isOther(name)) continue;
        // The kernel detaches a link that is only unpinned with a delay.
        using existing = openLink(this.#bpf, [folder], name);
        existing?.link.detach();
        removeFile(this.#platform, `${folder.links}/${name}`);
      }
    }
    for (const [name, { link }] of this.#held) {
      if (!isOther(name)) continue;
      link.detach();
      link[Symbol.dispose]();
      this.#held.delete(name);
    }
  }

  /**
   * Unpins and closes the links, in all folders, for whose names `isOther` returns true. The kernel detaches them
   * soon, without delay for the caller. Throws SysError.
   */
  forget(isOther: (name: string) => boolean): void {
    for (const [name, { link }] of this.#held) {
      if (!isOther(name)) continue;
      // The last descriptor of a link that is not pinned would wait for the kernel.
      link[Symbol.dispose]();
      this.#held.delete(name);
    }
    for (const { links } of this.folders) {
      if (!pathExists(this.#platform, links)) continue;
      for (const { name } of readDirectory(this.#platform, links)) {
        if (isOther(name)) removeFile(this.#platform, `${links}/${name}`);
      }
    }
  }

  /** Returns true when the link of that name is attached to its hook. */
  isAttached(name: string): boolean {
    const held = this.#held.get(name);
    return held?.isInPlace(held.link.info) ?? false;
  }

  /** Returns held links that are not attached, or run another process's program. */
  detached(): Damage[] {
    const damages: Damage[] = [];
    for (const [name, { link, programId, isInPlace }] of this.#held) {
      const { info } = link;
      if (!isInPlace(info)) damages.push({ kind: 'hook', name, problem: 'is not attached' });
      else if (info.programId !== programId) {
        damages.push({ kind: 'hook', name, problem: 'runs a program that is not the agent’s' });
      }
    }
    return damages;
  }

  /** Returns the names of the pins of held links, with the kernel's ids. */
  *pins(): Generator<readonly [string, number]> {
    for (const [name, { id }] of this.#held) yield [name, id];
  }

  /** Pins a held link if it is not pinned. Throws SysError. */
  pin(name: string): void {
    const { link, id } = this.#held.get(name)!;
    const path = `${this.folders[0]!.links}/${name}`;
    {
      using existing = openLink(this.#bpf, [this.folders[0]!], name);
      if (existing?.link.info.id === id) return;
    }
    removeFile(this.#platform, path);
    link.pin(path);
  }

  [Symbol.dispose](): void {
    for (const { link } of this.#held.values()) link[Symbol.dispose]();
    this.#held.clear();
  }

  /** Updates a pinned link with the program and holds it; closes it when it is attached elsewhere. */
  #takeOver(
    name: string,
    link: BpfLink,
    program: BpfProgram,
    isInPlace: Held['isInPlace'],
  ): boolean {
    const isRight = allOrNothing((opened) => {
      opened.use(link);
      const isThere = isInPlace(link.info);
      if (isThere) link.update(program);
      return isThere;
    });
    if (isRight) this.#hold(name, link, program.info.id, isInPlace);
    else link[Symbol.dispose]();
    return isRight;
  }

  /** Holds a link, in place of the one that is held under that name. */
  #hold(name: string, link: BpfLink, programId: number, isInPlace: Held['isInPlace']): void {
    const id = allOrNothing((opened) => opened.use(link).info.id);
    const before = this.#held.get(name);
    this.#held.set(name, { link, id, programId, isInPlace });
    before?.link[Symbol.dispose]();
  }
}

/** Opens a pinned link of the first folder that has it. Returns undefined if none has it. Throws SysError. */
export function openLink(bpf: Bpf, folders: readonly PinFolder[], name: string) {
  for (const folder of folders) {
    try {
      const link = BpfLink.openPinned(bpf, `${folder.links}/${name}`);
      return { link, folder, [Symbol.dispose]: () => link[Symbol.dispose]() };
    } catch (error) {
      if (!isNowhere(error)) throw error;
    }
  }
  return undefined;
}

/** Returns true for the error of a path at which nothing is pinned, also when its folder is no directory. */
export function isNowhere(error: unknown): boolean {
  return isMissing(error) || (error instanceof SysError && error.code === 'ENOTDIR');
}
