import type { Bpf } from '../bpf.ts';
import type { BpfProgram } from '../program.ts';
import { attaching, type Link } from './link.ts';

/**
 * Attaches a program to a cgroup v2, given by a descriptor of its directory: it runs for all
 * sockets of processes in the cgroup and below, in line with other programs there. Pass `attachType`
 * for a program that came from a pin, which doesn't tell. Throws NotSupported or SysError.
 */
export function attachCgroup(
  bpf: Bpf,
  program: BpfProgram,
  cgroupFd: number,
  attachType: number = program.attachType,
): Link {
  return attaching(bpf, program, 'cgroup', 'link/cgroup', () =>
    bpf.linkCreate({ program: program.fd, target: cgroupFd, attachType }),
  );
}
