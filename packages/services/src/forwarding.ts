import type { Family, Forwarding, Protocol, ServiceRecord } from '@heddle/objects';
import type { EndpointPort } from './endpoints.ts';
import type { ServiceRow } from './rows.ts';

/** Looks up the facts about nodes that tunnels depend on. */
export interface NodeLookup {
  /** Returns true if there is a Node of that name. */
  hasNode(name: string): boolean;
  /**
   * Returns true if this node's Node object has an address of the family that is on one of its network
   * interfaces.
   */
  hasTunnelAddress(family: Family): boolean;
}

/**
 * Returns the forwarding of a service for a protocol: from its annotation, else from the
 * configuration. `hybrid` tunnels only TCP, which adapts to the smaller MTU of the tunnel.
 */
function requestedForwarding(
  service: ServiceRecord,
  configured: Forwarding,
  protocol: Protocol,
): ServiceRow['forwarding'] {
  const wanted = service.forwarding ?? configured;
  if (wanted === 'hybrid') return protocol === 'TCP' ? 'dsr' : 'snat';
  return wanted;
}

/** Returns true if packets of the service may be tunnelled to other nodes. */
export function wantsTunnels(service: ServiceRecord | undefined, configured: Forwarding): boolean {
  return service !== undefined && (service.forwarding ?? configured) !== 'snat';
}

/**
 * Returns how external packets are forwarded to backends on other nodes, with the reason if that
 * differs from the setting. A tunnel needs a known node at its end, and as its source an address of
 * this node that is in its Node object.
 */
export function forwardingOf(
  service: ServiceRecord,
  configured: Forwarding,
  { protocol, family }: { readonly protocol: Protocol; readonly family: Family },
  usable: readonly EndpointPort[],
  nodes: NodeLookup,
): { readonly forwarding: ServiceRow['forwarding']; readonly problem?: string } {
  if (requestedForwarding(service, configured, protocol) === 'snat') return { forwarding: 'snat' };
  const instead = (cause: string) =>
    ({ forwarding: 'snat', problem: `forwarding is snat, not dsr: ${cause}` }) as const;
  if (!nodes.hasTunnelAddress(family)) {
    return instead(`this node's Node object has no ${family} address of this node`);
  }
  for (const { endpoint } of usable) {
    const { address, nodeName } = endpoint;
    if (nodeName === '') return instead(`endpoint ${address} is on no node (nodeName is absent)`);
    if (!nodes.hasNode(nodeName)) {
      return instead(`endpoint ${address} is on node ${nodeName}, which is not known`);
    }
  }
  return { forwarding: 'dsr' };
}
