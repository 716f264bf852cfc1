import { inRanges, type NodeRecord, takesNodePorts } from '@heddle/objects';

/**
 * Returns the addresses of this node that take NodePorts, sorted. With ranges: the addresses in
 * them, out of `own` (those of the network interfaces) and of the Node object. Without ranges: the
 * InternalIPs and ExternalIPs of the Node object or, if it has none, all addresses of the network
 * interfaces.
 */
export function nodePortAddresses(
  own: readonly string[],
  node: NodeRecord | undefined,
  ranges: readonly string[] | undefined,
): readonly string[] {
  const known = [...new Set([...own, ...(node?.addresses ?? [])])].filter(takesNodePorts).sort();
  if (ranges) return known.filter((address) => inRanges(ranges, address));
  const nodeIPs = new Set(node?.nodeIPs);
  const stated = known.filter((address) => nodeIPs.has(address));
  return stated.length > 0 ? stated : known;
}
