import type { Helper } from '../machine.ts';
import { basicHelpers } from './basics.ts';
import { checksumHelpers } from './checksums.ts';
import { forwardingHelpers } from './forwarding.ts';
import { mapHelpers } from './maps.ts';
import { packetHelpers } from './packets.ts';
import { socketHelpers } from './sockets.ts';
import { timerHelpers } from './timers.ts';
import { tunnelHelpers } from './tunnels.ts';

/** The helpers of the machine by their number in `enum bpf_func_id`. */
export const helpersByNumber: Readonly<Record<number, readonly [name: string, helper: Helper]>> = {
  ...basicHelpers,
  ...checksumHelpers,
  ...forwardingHelpers,
  ...mapHelpers,
  ...packetHelpers,
  ...socketHelpers,
  ...timerHelpers,
  ...tunnelHelpers,
};

const names = new Map(Object.values(helpersByNumber).map(([name, helper]) => [helper, name]));

/** Returns the name of a helper in `enum bpf_func_id`, without `bpf_`, or undefined for kernel functions. */
export function helperName(helper: Helper): string | undefined {
  return names.get(helper);
}
