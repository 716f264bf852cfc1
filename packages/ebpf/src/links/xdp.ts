import type { Bpf } from '../bpf.ts';
import type { BpfProgram } from '../program.ts';
import { attachTypes } from '../uapi.ts';
import { attaching, type Link } from './link.ts';

/** XDP_FLAGS_* of linux/if_link.h. */
const modes = { any: 0, generic: 1 << 1, native: 1 << 2 } as const;

/**
 * Attaches an XDP program to a device; there can be one per mode. `any` is native where the
 * driver can, else generic. Throws NotSupported, or SysError (EINVAL: no such device in the
 * caller's network namespace; EOPNOTSUPP: the driver has no native mode; EBUSY: taken).
 */
export function attachXdp(
  bpf: Bpf,
  program: BpfProgram,
  ifindex: number,
  mode: keyof typeof modes = 'any',
): Link {
  return attaching(bpf, program, `xdp of device ${ifindex}`, 'link/xdp', () =>
    bpf.linkCreate({
      program: program.fd,
      target: ifindex,
      attachType: attachTypes.xdp,
      flags: modes[mode],
    }),
  );
}
