import type { Bpf } from '../bpf.ts';
import type { BpfProgram } from '../program.ts';
import { attachTypes } from '../uapi.ts';
import { attaching, type BpfLink, type LinkPosition, positionFlags } from './link.ts';

/**
 * Attaches a tc program to the ingress or egress of a network interface by a tcx link (Linux 6.6), by
 * default after the existing ones. A program passes the packet to the next one by returning TCX_NEXT
 * (-1). Throws NotSupported, and SysError (ENODEV: no such interface in the network namespace of the
 * caller).
 */
export function attachTcx(
  bpf: Bpf,
  program: BpfProgram,
  ifindex: number,
  direction: 'ingress' | 'egress',
  position?: LinkPosition,
): BpfLink {
  const attachType = direction === 'ingress' ? attachTypes.tcx_ingress : attachTypes.tcx_egress;
  const options = { program: program.fd, target: ifindex, attachType, ...positionFlags(position) };
  return attaching(bpf, program, `${direction} of interface ${ifindex}`, 'link/tcx', () =>
    bpf.linkCreate(options),
  );
}
