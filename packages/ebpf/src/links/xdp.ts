import type { Bpf } from '../bpf.ts';
import type { BpfProgram } from '../program.ts';
import { attachTypes } from '../uapi.ts';
import { attaching, type BpfLink } from './link.ts';

/** XDP_FLAGS_* of linux/if_link.h. */
const modes = { any: 0, generic: 1 << 1, native: 1 << 2 } as const;

/**
 * Attaches an XDP program to a network interface, which has one for each mode. `any` is native if the
 * driver supports it, else generic. Throws NotSupported, and SysError (EINVAL: no such interface in the
 * network namespace of the caller; EOPNOTSUPP: the driver has no native mode; EBUSY: another program is
 * attached).
 */
export function attachXdp(
  bpf: Bpf,
  program: BpfProgram,
  ifindex: number,
  mode: keyof typeof modes = 'any',
): BpfLink {
  return attaching(bpf, program, `xdp of interface ${ifindex}`, 'link/xdp', () =>
    bpf.linkCreate({
      program: program.fd,
      target: ifindex,
      attachType: attachTypes.xdp,
      flags: modes[mode],
    }),
  );
}
