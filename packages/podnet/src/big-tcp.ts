import type { NetworkLink } from '@heddle/netlink';

/** Largest packet before segmentation of BIG TCP, bytes: larger ones gain little. */
const largest = 192 * 1024;
/** Largest packet before segmentation without BIG TCP (GSO_LEGACY_MAX_SIZE). */
const usual = 65_536;

/**
 * Returns the size of packets before segmentation for pods whose packets leave by these links, or undefined for the
 * kernel's default. A larger packet than a link allows would be cut by the processor instead of the link.
 */
export function bigTcpSize(links: readonly Pick<NetworkLink, 'segments'>[]): number | undefined {
  const size = Math.min(largest, ...links.map(({ segments }) => segments.tsoMax));
  return size > usual ? size : undefined;
}
