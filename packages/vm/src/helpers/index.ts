import type { Helper } from '../program.ts';
import { basicHelpers } from './basics.ts';
import { checksumHelpers } from './checksums.ts';
import { forwardingHelpers } from './forwarding.ts';
import { mapHelpers } from './maps.ts';
import { packetHelpers } from './packets.ts';
import { socketHelpers } from './sockets.ts';
import { timerHelpers } from './timers.ts';

/** What the machine has of `enum bpf_func_id`, by number. */
export const helpersByNumber: Readonly<Record<number, readonly [name: string, helper: Helper]>> = {
  ...basicHelpers,
  ...checksumHelpers,
  ...forwardingHelpers,
  ...mapHelpers,
  ...packetHelpers,
  ...socketHelpers,
  ...timerHelpers,
};
