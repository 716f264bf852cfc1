import type { EndpointRecord } from '@heddle/objects';

export interface Locality {
  readonly nodeName: string;
  /** Empty when the Node object has no zone label. */
  readonly zone: string;
}

/**
 * Which endpoints the slices' hints keep for this node, or undefined when hints don't apply and all
 * are for it. `ready` are the ready endpoints of one service port in one family. As kube-proxy since
 * 1.34 (KEP-3015, KEP-4444): node hints win over zone hints; either counts only when every ready
 * endpoint carries one and at least one is for this node (or its zone).
 */
export function hintedHere(
  ready: readonly EndpointRecord[],
  { nodeName, zone }: Locality,
): ((endpoint: EndpointRecord) => boolean) | undefined {
  if (ready.length === 0) return undefined;
  const forNode = (endpoint: EndpointRecord) => endpoint.nodeHints.includes(nodeName);
  if (ready.every((endpoint) => endpoint.nodeHints.length > 0) && ready.some(forNode)) {
    return forNode;
  }
  const forZone = (endpoint: EndpointRecord) => endpoint.zoneHints.includes(zone);
  if (ready.every((endpoint) => endpoint.zoneHints.length > 0) && ready.some(forZone)) {
    return forZone;
  }
  return undefined;
}
