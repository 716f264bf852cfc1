import { NetlinkError } from '@heddle/netlink';
import { decodeUtf8, isMissing, type Platform, readFile, SysError } from '@heddle/sys';
import { looksAtForwardedConnections } from './forwarding-rules.ts';

const countPath = '/proc/sys/net/netfilter/nf_conntrack_count';
/** Other programs add rules at any time, mostly soon after the node has started. */
const everyMs = 5000;

/**
 * Returns true if netfilter tracks connections in this network namespace. It does from the first rule on that needs
 * it, and then has entries at any time, at least those of the agent itself. Throws SysError.
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
 * Returns true if netfilter must see both directions of forwarded connections. It need not while it tracks none, nor
 * while no rule for forwarded packets matches the state of connections; on a node with a kubelet, whose rule for
 * the node's own packets does, it always tracks them.
 */
function mustSeeForwarded(platform: Platform): boolean {
  if (!isTracking(platform)) return false;
  try {
    return looksAtForwardedConnections(platform);
  } catch (error) {
    // A needless `true` costs a little time, a wrong `false` costs connections.
    if (error instanceof SysError || error instanceof NetlinkError) return true;
    throw error;
  }
}

/**
 * Reports at once whether netfilter must see both directions of forwarded connections, and later when it begins to,
 * until disposed. The end is not reported, because rules disappear for a while when their owners restart. Throws
 * SysError.
 */
export function watchTracking(
  platform: Platform,
  onTracking: (tracked: boolean) => void,
): Disposable {
  let timer: Disposable | undefined;
  const lookLater = () => {
    timer = platform.setTimer(everyMs, () => {
      // Armed first, so that a check that fails is not the last one.
      lookLater();
      if (!mustSeeForwarded(platform)) return;
      timer?.[Symbol.dispose]();
      onTracking(true);
    });
  };
  const isTracked = mustSeeForwarded(platform);
  onTracking(isTracked);
  if (!isTracked) lookLater();
  return {
    [Symbol.dispose]() {
      timer?.[Symbol.dispose]();
    },
  };
}
