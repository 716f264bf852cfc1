import type { Family, ServiceRecord, SliceRecord } from '@heddle/objects';
import { isLocal, mergeEndpoints } from './endpoints.ts';
import type { Frontend } from './rows.ts';
import type { Locality } from './topology.ts';

const families: readonly Family[] = ['IPv4', 'IPv6'];

/**
 * What a service's health check takes of the node: its port for TCP at all of the node's addresses,
 * so that no NodePort can have it too. Nothing is translated there: the agent itself listens.
 */
export function healthCheckFrontends(
  { healthCheckPort: port }: ServiceRecord,
  nodeAddresses: readonly string[],
): readonly Frontend[] {
  if (port === 0) return [];
  return [...nodeAddresses, '0.0.0.0', '::'].map((address) => {
    return { kind: 'NodePort', address, port, protocol: 'TCP' };
  });
}

/**
 * How many ready endpoints of the service are on this node, as kube-proxy counts them for a health
 * check: by address, whichever of the service's ports they serve; terminating ones don't count, also
 * when they are all that is left and still get traffic (KEP-1669). A pod of two families has an
 * address in each and counts once, so the larger of the two numbers is taken.
 */
export function readyHere(
  service: ServiceRecord,
  slices: readonly SliceRecord[],
  locality: Locality,
): number {
  const counts = families.map((family) => {
    const candidates = service.ports.flatMap((port) => mergeEndpoints(slices, port, family));
    const ready = candidates
      .map(({ endpoint }) => endpoint)
      .filter((each) => (each.ready || service.publishNotReady) && isLocal(each, locality));
    return new Set(ready.map(({ address }) => address)).size;
  });
  return Math.max(...counts);
}
