import { errno as codes, SysError } from '@heddle/sys';

/** Bytes that are not a netlink message or attribute as linux/netlink.h lays them out. */
export class MalformedMessage extends Error {
  override readonly name = 'MalformedMessage';
}

/**
 * A request that the kernel refused. `detail` is the kernel's own sentence about it (extended
 * acknowledgement, linux/netlink.h NLMSGERR_ATTR_MSG), or empty when it gave none.
 */
export class NetlinkError extends SysError {
  override readonly name = 'NetlinkError';
  readonly detail: string;

  /** `what` reads `verb noun`; `errno` is positive. */
  constructor(what: string, errno: number, detail = '') {
    const isDenied = errno === codes.EPERM;
    const hint = isDenied ? 'run as root or with CAP_NET_ADMIN' : undefined;
    super('netlink', errno, what, { hint });
    this.detail = detail;
    if (detail !== '') this.message = `${this.message}: ${detail}`;
  }
}
