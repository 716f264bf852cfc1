import { attachCgroup, type Bpf, Link, type LoadedObject, type ObjectSpec } from '@heddle/ebpf';
import {
  closeFd,
  inodeOfFd,
  isMissing,
  makeDirectory,
  O_DIRECTORY,
  O_RDONLY,
  openFile,
  type Platform,
  removeFile,
} from '@heddle/sys';
import type { PinFolder } from './pinned-maps.ts';

/**
 * Brings the programs of socket.bpf.c into force on a cgroup: a link that an earlier start pinned
 * gets the new program without a gap, also one of an older layout; a missing one is made. Each
 * program has a link, pinned by the program's name. Throws SysError.
 */
export function attachHooks(
  bpf: Bpf,
  platform: Platform,
  spec: ObjectSpec,
  loaded: LoadedObject,
  cgroup: string,
  folders: readonly PinFolder[],
): void {
  const own = folders[0]!;
  makeDirectory(platform, own.links);
  const cgroupFd = openFile(platform, cgroup, O_RDONLY | O_DIRECTORY);
  try {
    const cgroupId = inodeOfFd(platform, cgroupFd);
    for (const [name, program] of loaded.programs) {
      using existing = openLink(bpf, folders, name);
      const info = existing?.link.info;
      if (existing && info?.kind === 'cgroup' && info.cgroupId === cgroupId) {
        existing.link.update(program);
        if (existing.folder !== own) existing.link.pin(`${own.links}/${name}`);
        continue;
      }
      // The link belongs to a cgroup that is gone, or to another one than the one asked for.
      using link = attachCgroup(bpf, program, cgroupFd, spec.programs.get(name)!.attachType);
      removeFile(platform, `${own.links}/${name}`);
      link.pin(`${own.links}/${name}`);
    }
  } finally {
    closeFd(platform, cgroupFd);
  }
}

/** Whether a link of this or another layout is in force. */
export function hasHooks(
  bpf: Bpf,
  folders: readonly PinFolder[],
  names: Iterable<string>,
): boolean {
  for (const name of names) {
    using existing = openLink(bpf, folders, name);
    if (existing) return true;
  }
  return false;
}

/** The hooks by name, and whether each is attached to something that exists. */
export function hookStates(
  bpf: Bpf,
  folder: PinFolder,
  names: Iterable<string>,
): { hook: string; attached: boolean }[] {
  return Array.from(names, (hook) => {
    using existing = openLink(bpf, [folder], hook);
    const info = existing?.link.info;
    return { hook, attached: info?.kind === 'cgroup' && info.cgroupId !== 0n };
  });
}

export function openLink(bpf: Bpf, folders: readonly PinFolder[], name: string) {
  for (const folder of folders) {
    try {
      const link = Link.openPinned(bpf, `${folder.links}/${name}`);
      return { link, folder, [Symbol.dispose]: () => link[Symbol.dispose]() };
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
  return undefined;
}
