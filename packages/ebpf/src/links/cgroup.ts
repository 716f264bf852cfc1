import { errno, O_DIRECTORY, openFile, SysError } from '@heddle/sys';
import type { Bpf } from '../bpf.ts';
import type { BpfProgram } from '../program.ts';
import { attaching, type BpfLink } from './link.ts';

/**
 * Attaches a program to a cgroup of cgroup2, given by the path of its directory or by the open
 * directory. It runs for all sockets of processes in the cgroup and below, beside the other programs
 * there. Give `attachType` for a program that came from a pin, which has none. Throws NotSupported,
 * and SysError (ENOENT: there is no such directory, EBADF: it is not of cgroup2).
 */
export function attachCgroup(
  bpf: Bpf,
  program: BpfProgram,
  cgroup: string | { readonly fd: number },
  attachType: number = program.attachType,
): BpfLink {
  const where = typeof cgroup === 'string' ? `cgroup ${cgroup}` : 'cgroup';
  return attaching(bpf, program, where, 'link/cgroup', () => {
    using opened =
      typeof cgroup === 'string' ? openFile(bpf.platform, cgroup, O_DIRECTORY) : undefined;
    const target = opened?.fd ?? (cgroup as { readonly fd: number }).fd;
    try {
      return bpf.linkCreate({ program: program.fd, target, attachType });
    } catch (error) {
      if (!(error instanceof SysError) || error.errno !== errno.EBADF) throw error;
      const words = 'it is not a directory of a cgroup2 file system';
      throw new SysError('bpf', error.errno, 'create link', { words, cause: error });
    }
  });
}
