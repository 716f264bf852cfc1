import type { Tap } from '../src/packet/tap.ts';

/** Returns the captured packets without multicast, which the kernel may send for a new address at any time. */
export function unicast(tap: Tap) {
  return tap.drain().filter(({ packet }) => (packet.bytes[0]! & 1) === 0);
}
