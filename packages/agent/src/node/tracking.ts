import { NetlinkError } from '@heddle/netlink';
import { decodeUtf8, isMissing, type Platform, readFile, SysError } from '@heddle/sys';
import { looksAtForwardedConnections } from './forwarding-rules.ts';

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
 * True when netfilter must see both directions of forwarded connections. It need not while it tracks none, nor
 * while no rule for forwarded packets looks at the state of connections; on a node with a kubelet, whose rule
 * for the node's own packets does, it always tracks them.
 */
function mustSeeForwarded(platform: Platform): boolean {
  if (!isTracking(platform)) return false;
  try {
    return looksAtForwardedConnections(platform);
  } catch (error) {
    // To take it for needed costs a little time where the opposite costs connections.
    if (error instanceof SysError || error instanceof NetlinkError) return true;
    throw error;
  }
}

/**
 * Reports at once whether netfilter must see both directions of forwarded connections, and later when it begins
 * to, until disposed. When it ends isn't looked for: rules come and go when their owners start. Throws SysError.
 */
export function watchTracking(platform: Platform, tell: (tracked: boolean) => void): Disposable {
  let timer: Disposable | undefined;
  const lookLater = () => {
    timer = platform.setTimer(everyMs, () => {
      // Armed first, so that a look that fails is not the last one.
      lookLater();
      if (!mustSeeForwarded(platform)) return;
      timer?.[Symbol.dispose]();
      tell(true);
    });
  };
  const isTracked = mustSeeForwarded(platform);
  tell(isTracked);
  if (!isTracked) lookLater();
  return {
    [Symbol.dispose]() {
      timer?.[Symbol.dispose]();
    },
  };
}
