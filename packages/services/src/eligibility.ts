import type { ServiceRecord } from '@heddle/objects';

/**
 * Returns the reason why Heddle doesn't serve a service, or undefined if it does. Headless and
 * ExternalName services have no address to translate; a service with the label
 * `service.kubernetes.io/service-proxy-name` belongs to another proxy, whatever the label's value
 * (KEP-2447).
 */
export function reasonNotServed(service: ServiceRecord): string | undefined {
  if (service.proxyName !== undefined) {
    return `served by another proxy (service.kubernetes.io/service-proxy-name: ${service.proxyName})`;
  }
  if (service.type === 'ExternalName') return 'an ExternalName service has no address';
  if (service.clusterIPs.length === 0) return 'a headless service has no address';
  return undefined;
}
