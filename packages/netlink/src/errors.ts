import { errno as codes, SysError } from '@heddle/sys';

/** Bytes that do not have the layout of a netlink message or attribute (linux/netlink.h). */
export class MalformedMessage extends Error {
  override readonly name = 'MalformedMessage';
}

/**
 * A request that the kernel has refused. `detail` is the kernel's explanation (extended
 * acknowledgement, NLMSGERR_ATTR_MSG of linux/netlink.h), or empty when there is none.
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

/** Returns whether `error` is a NetlinkError, with one of `codes` (e.g. `ENODEV`) if any are given. */
export function isNetlinkError(error: unknown, ...codes: readonly string[]): error is NetlinkError {
  return error instanceof NetlinkError && (codes.length === 0 || codes.includes(error.code));
}

/**
 * Runs a request for the removal of something. Returns true, or false when the kernel answers with
 * one of `missing`, the codes for an absent object.
 */
export function removed(request: () => void, ...missing: readonly string[]): boolean {
  try {
    request();
    return true;
  } catch (error) {
    if (isNetlinkError(error, ...missing)) return false;
    throw error;
  }
}
