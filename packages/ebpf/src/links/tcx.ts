import type { Bpf } from '../bpf.ts';
import type { BpfProgram } from '../program.ts';
import { attachTypes } from '../uapi.ts';
import { attaching, type Link, type Place, placing } from './link.ts';

/**
 * Attaches a tc program to a device's ingress or egress by a tcx link (Linux 6.6), by default
 * behind the ones that are there. A program passes the packet on to the next by returning
 * TCX_NEXT (-1). Throws NotSupported, or SysError (ENODEV: no such device in the caller's
 * network namespace).
 */
export function attachTcx(
  bpf: Bpf,
  program: BpfProgram,
  ifindex: number,
  direction: 'ingress' | 'egress',
  place?: Place,
): Link {
  const attachType = direction === 'ingress' ? attachTypes.tcx_ingress : attachTypes.tcx_egress;
  const options = { program: program.fd, target: ifindex, attachType, ...placing(place) };
  return attaching(bpf, program, `${direction} of device ${ifindex}`, 'link/tcx', () =>
    bpf.linkCreate(options),
  );
}
