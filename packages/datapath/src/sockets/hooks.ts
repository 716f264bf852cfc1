import { attachCgroup, type Bpf, type LoadedObject, type ObjectSpec } from '@heddle/ebpf';
import { inodeOfFd, O_DIRECTORY, O_RDONLY, openFile, type Platform } from '@heddle/sys';
import { openLink, type PinnedLinks } from '../core/pinned-links.ts';
import type { PinFolder } from '../core/pinned-maps.ts';

/** The objects that attach the programs of sockets. */
export interface HookParts {
  readonly bpf: Bpf;
  readonly platform: Platform;
  readonly spec: ObjectSpec;
  readonly loaded: LoadedObject;
  /** Path of the cgroup. */
  readonly cgroup: string;
  readonly links: PinnedLinks;
}

/**
 * Attaches the programs of socket.bpf.c to the cgroup. A link that an earlier agent pinned gets the new program without
 * a gap, also one of an older layout; a missing one is made. Each program has a link, pinned by the program's name.
 * Throws SysError.
 */
export function attachHooks({ bpf, platform, spec, loaded, cgroup, links }: HookParts): void {
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

/** Returns true when a link of this or another layout is pinned under one of these names. Throws SysError. */
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
