import { type NetworkEvent, type NetworkGroup, watchNetwork } from '@heddle/netlink';
import type { Platform } from '@heddle/sys';

/** The time after which a failed `changed` is called again. */
const retryMs = 1000;
/** Events come in bursts, e.g. when a link goes up. */
const burstMs = 50;

/**
 * Calls `changed` once for each burst of events in this network namespace of which at least one is
 * relevant, until it is disposed of. Lost events count as relevant. When `changed` throws, it is
 * called again after a second. Throws SysError and NetlinkError.
 */
export function onNetworkChange(
  platform: Platform,
  groups: readonly NetworkGroup[],
  isRelevant: (event: NetworkEvent) => boolean,
  changed: () => void,
): Disposable {
  let timer: Disposable | undefined;
  const callAfter = (milliseconds: number) => {
    timer ??= platform.setTimer(milliseconds, () => {
      timer = undefined;
      try {
        changed();
      } catch (error) {
        const reason = (error as Error).message;
        platform.log('warn', `follow the network's changes: ${reason}; it is tried again`);
        callAfter(retryMs);
      }
    });
  };
  const watch = watchNetwork(platform, groups, (event) => {
    if (event.kind === 'lost' || isRelevant(event)) callAfter(burstMs);
  });
  return {
    [Symbol.dispose]() {
      timer?.[Symbol.dispose]();
      watch[Symbol.dispose]();
    },
  };
}
