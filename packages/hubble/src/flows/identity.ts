import { createHash } from 'node:crypto';

/** The identities of ends that are no pods, as clients of Hubble name them. */
export const reservedIdentity = {
  unknown: 0,
  host: 1,
  world: 2,
  unmanaged: 3,
  health: 4,
  init: 5,
  remoteNode: 6,
  kubeApiserver: 7,
  ingress: 8,
  worldIpv4: 9,
  worldIpv6: 10,
} as const;

/** Identities of pods have 24 bits; those below 256 are reserved. */
const first = 256;
const count = (1 << 24) - first;

/**
 * Returns the identity of pods with these labels: a number that depends on nothing else, so it is the same
 * on each node and after each restart. Pods with different labels have the same number in rare cases (of
 * 5,000 sets of labels some two have an equal), so it only identifies; nothing decides by it.
 */
export function identityOf(labels: readonly string[]): number {
  const digest = createHash('sha256')
    .update([...labels].sort().join('\n'))
    .digest();
  return first + (digest.readUInt32BE(0) % count);
}
