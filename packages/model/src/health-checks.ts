import type { ServiceRecord, SliceRecord } from './records.ts';
import type { Locality } from './topology.ts';

/** What load balancers are told of a service at its healthCheckNodePort. */
export interface HealthCheck {
  readonly namespace: string;
  readonly name: string;
  /** Host order. */
  readonly port: number;
  /** Endpoints of this node that are ready; none: the balancer is to leave this node. */
  readonly localEndpoints: number;
}

/**
 * The health check of a service, if it has one: of a LoadBalancer service with
 * externalTrafficPolicy Local. An endpoint that terminates counts no more, so that the balancer
 * leaves while connections drain (KEP-1669). `slices` are the service's.
 */
export function healthCheckOf(
  service: ServiceRecord,
  slices: readonly SliceRecord[],
  { nodeName }: Locality,
): HealthCheck | undefined {
  const { namespace, name, healthCheckPort: port, publishNotReady } = service;
  if (port === 0) return undefined;
  const local = new Set<string>();
  for (const { endpoints } of slices) {
    for (const { address, ready, nodeName: node } of endpoints) {
      if (node !== '' && node === nodeName && (ready || publishNotReady)) local.add(address);
    }
  }
  return { namespace, name, port, localEndpoints: local.size };
}
