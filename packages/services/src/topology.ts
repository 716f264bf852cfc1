import type { EndpointRecord } from '@heddle/objects';

export interface Locality {
  readonly nodeName: string;
  /** Empty when the Node object has no zone label. */
  readonly zone: string;
}

/**
 * Returns a filter for the endpoints that topology hints assign to this node, or undefined if hints
 * don't apply and all endpoints are usable. `ready` has the ready endpoints of one service port in
 * one family. As in kube-proxy since 1.34 (KEP-3015, KEP-4444), node hints have precedence over
 * zone hints; either kind applies only if every ready endpoint has one and at least one is for this
 * node (or its zone).
 */
export function hintFilter(
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
