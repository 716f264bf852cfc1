import type { Bpf } from '../bpf.ts';
import type { BpfProgram } from '../program.ts';
import { attachTypes } from '../uapi.ts';
import { attaching, type Link, type Place, placing } from './link.ts';

/**
 * Attaches a tc program to a netkit pair (Linux 6.8), given by the index of its primary device:
 * at the primary's end (`primary`) or, from outside, at the other end (`peer`). Throws
 * NotSupported, or SysError (ENODEV: no such device, ENXIO: no netkit device, EACCES: no primary one).
 */
export function attachNetkit(
  bpf: Bpf,
  program: BpfProgram,
  ifindex: number,
  end: 'primary' | 'peer',
  place?: Place,
): Link {
  const attachType = end === 'primary' ? attachTypes.netkit_primary : attachTypes.netkit_peer;
  const options = { program: program.fd, target: ifindex, attachType, ...placing(place) };
  return attaching(bpf, program, `${end} of netkit device ${ifindex}`, 'link/netkit', () =>
    bpf.linkCreate(options),
  );
}
