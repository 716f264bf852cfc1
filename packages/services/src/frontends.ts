import {
  type Family,
  familyOf,
  type ServicePort,
  type ServiceRecord,
  unspecifiedAddress,
} from '@heddle/objects';
import type { Frontend } from './rows.ts';

/**
 * Returns all frontends that a service asks for at one of its ports in one family, before refusals
 * and conflicts. `nodeAddresses` are this node's addresses that take NodePorts, of both families.
 * An address that the service names twice gives one frontend, of the first kind of: ClusterIP, load
 * balancer, externalIP, NodePort.
 */
export function wantedFrontends(
  service: ServiceRecord,
  port: ServicePort,
  family: Family,
  nodeAddresses: readonly string[],
): readonly Frontend[] {
  const frontends: Frontend[] = [];
  const add = (kind: Frontend['kind'], address: string, number: number) => {
    if (familyOf(address) !== family) return;
    if (frontends.some((other) => other.address === address && other.port === number)) return;
    frontends.push({ kind, address, port: number, protocol: port.protocol });
  };
  for (const address of service.clusterIPs) add('ClusterIP', address, port.port);
  for (const address of service.loadBalancerIPs) add('LoadBalancer', address, port.port);
  for (const address of service.externalIPs) add('ExternalIP', address, port.port);
  if (port.nodePort !== 0) {
    for (const address of nodeAddresses) add('NodePort', address, port.nodePort);
    add('NodePort', unspecifiedAddress(family), port.nodePort);
  }
  return frontends;
}
