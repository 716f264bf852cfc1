import type { Family, ServiceRecord, SliceRecord } from '@heddle/objects';
import { isLocal, mergeEndpoints } from './endpoints.ts';
import type { Frontend } from './rows.ts';
import type { Locality } from './topology.ts';

const families: readonly Family[] = ['IPv4', 'IPv6'];

/**
 * Returns the frontends that a service's health check occupies: its TCP port at all of the node's
 * addresses, so that no NodePort can have it too. They are not translated: the agent listens there.
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
 * Returns the number of ready endpoints of the service on this node, as kube-proxy counts them for
 * a health check: by address, whichever of the service's ports they serve. Terminating ones don't
 * count, even if only they are left and still get traffic (KEP-1669). A dual-stack pod has an
 * address in each family and counts once, so the result is the larger of the two counts.
 */
export function countLocalReady(
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
