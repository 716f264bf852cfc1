import { createHash } from 'node:crypto';

/**
 * Returns the part of the names of chains by which kube-proxy distinguishes ports and endpoints: a hash's first
 * 16 letters for iptables (whose names have room for 28), 8 for nftables.
 */
export function chainHash(text: string, length: 8 | 16): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const digest = createHash('sha256').update(text).digest();
  return Array.from({ length }, (_, i) => alphabet[digest[i]! & 31]).join('');
}
