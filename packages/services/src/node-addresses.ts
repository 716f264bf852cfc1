import { inRanges, type NodeRecord, takesNodePorts } from '@heddle/objects';

/**
 * The addresses of this node that take NodePorts, sorted: of `own` (those of its devices) and those
 * of its Node object what lies in the ranges; without ranges the InternalIPs and ExternalIPs of the
 * Node object, or, where that says none, all of its devices.
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
