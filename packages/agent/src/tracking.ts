import { decodeUtf8, isMissing, type Platform, readFile } from '@heddle/sys';

const countPath = '/proc/sys/net/netfilter/nf_conntrack_count';
/** Rules of others come at any time, as a rule soon after a node has started. */
const everyMs = 5000;

/**
 * Whether netfilter tracks connections in this network namespace: it does from when the first rule
 * needs it, and then knows some at any time, be it those of the agent itself. Throws SysError.
 */
export function isTracking(platform: Platform): boolean {
  try {
    return Number(decodeUtf8(readFile(platform, countPath))) > 0;
  } catch (error) {
    // The kernel has not loaded connection tracking.
    if (isMissing(error)) return false;
    throw error;
  }
}

/**
 * Tells at once whether netfilter tracks connections, and later when it begins to, until disposed.
 * That it has ended isn't looked for: what it knows lives on for days, and to take it for active
 * costs a little time where the opposite costs connections. Throws SysError.
 */
export function watchTracking(platform: Platform, tell: (tracked: boolean) => void): Disposable {
  let timer: Disposable | undefined;
  const look = (): boolean => {
    const tracked = isTracking(platform);
    timer = tracked ? undefined : platform.setTimer(everyMs, () => look() && tell(true));
    return tracked;
  };
  tell(look());
  return {
    [Symbol.dispose]() {
      timer?.[Symbol.dispose]();
    },
  };
}
