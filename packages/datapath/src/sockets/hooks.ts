import { attachCgroup, type Bpf, type LoadedObject, type ObjectSpec } from '@heddle/ebpf';
import { inodeOfFd, O_DIRECTORY, O_RDONLY, openFile, type Platform } from '@heddle/sys';
import type { Damage } from '../core/audit.ts';
import { openLink, type PinnedLinks } from '../core/pinned-links.ts';
import type { PinFolder } from '../core/pinned-maps.ts';

/**
 * Attaches the programs of socket.bpf.c to the cgroup at a path: a link that an earlier start
 * pinned gets the new program without a gap, also one of an older layout; a missing one is made. Each
 * program has a link, pinned by the program's name. Throws SysError.
 */
export function attachHooks(
  bpf: Bpf,
  platform: Platform,
  spec: ObjectSpec,
  loaded: LoadedObject,
  cgroup: string,
  links: PinnedLinks,
): void {
  using directory = openFile(platform, cgroup, O_RDONLY | O_DIRECTORY);
  const cgroupId = inodeOfFd(platform, directory.fd);
  for (const [name, program] of loaded.programs) {
    links.attach({
      name,
      program,
      isInPlace: (info) => info.kind === 'cgroup' && info.cgroupId === cgroupId,
      attach: () => attachCgroup(bpf, program, directory, spec.programs.get(name)!.attachType),
    });
  }
}

/**
 * The cgroup at a path that is another one than the one with this id: it was removed and made again, and
 * what is attached to the old one serves nobody.
 */
export function otherCgroup(platform: Platform, path: string, attached: bigint): Damage[] {
  const damage = (problem: string): Damage[] => [{ kind: 'hook', name: `cgroup ${path}`, problem }];
  try {
    using directory = openFile(platform, path, O_RDONLY | O_DIRECTORY);
    return inodeOfFd(platform, directory.fd) === attached ? [] : damage('was made anew');
  } catch (error) {
    return damage(`can't be opened: ${(error as Error).message}`);
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
