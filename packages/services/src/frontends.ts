import {
  type Family,
  familyOf,
  type ServicePort,
  type ServiceRecord,
  unspecifiedOf,
} from '@heddle/objects';
import type { Frontend } from './rows.ts';

/**
 * All frontends that a service asks for at one of its ports in one family, before any is refused or
 * lost to another service. `nodeAddresses` are those of this node that
 * take NodePorts, of both families. An address that
 * the service names twice is asked for once, for the first of: ClusterIP, load balancer,
 * externalIP, NodePort.
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
    add('NodePort', unspecifiedOf(family), port.nodePort);
  }
  return frontends;
}
