import type { Tap } from '../src/packet/tap.ts';

/** What was captured but for multicast, by which the kernel may tell of a new address at any time. */
export function unicast(tap: Tap) {
  return tap.drain().filter(({ packet }) => (packet.bytes[0]! & 1) === 0);
}
