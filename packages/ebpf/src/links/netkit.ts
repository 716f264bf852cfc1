import type { Bpf } from '../bpf.ts';
import type { BpfProgram } from '../program.ts';
import { attachTypes } from '../uapi.ts';
import { attaching, type BpfLink, type LinkPosition, positionFlags } from './link.ts';

/**
 * Attaches a tc program to a netkit pair (Linux 6.8), given by the index of its primary interface: at
 * the end of the primary (`primary`) or at the other end (`peer`). Throws NotSupported, and SysError
 * (ENODEV: no such interface, ENXIO: not a netkit interface, EACCES: not the primary one).
 */
export function attachNetkit(
  bpf: Bpf,
  program: BpfProgram,
  ifindex: number,
  end: 'primary' | 'peer',
  position?: LinkPosition,
): BpfLink {
  const attachType = end === 'primary' ? attachTypes.netkit_primary : attachTypes.netkit_peer;
  const options = { program: program.fd, target: ifindex, attachType, ...positionFlags(position) };
  return attaching(bpf, program, `${end} of netkit interface ${ifindex}`, 'link/netkit', () =>
    bpf.linkCreate(options),
  );
}
