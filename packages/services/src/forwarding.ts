import type { Family, Forwarding, Protocol, ServiceRecord } from '@heddle/objects';
import type { Candidate } from './endpoints.ts';
import type { ServiceRow } from './rows.ts';

/** What is known of the cluster's nodes, for tunnels between them. */
export interface NodeKnowledge {
  /** Whether there is a Node of that name. */
  hasNode(name: string): boolean;
  /** Whether the own Node object has an address of that family that is on one of the node's devices. */
  isKnownByOthers(family: Family): boolean;
}

/**
 * What is asked for a service's packets of a protocol: its annotation, else the configuration. `hybrid`
 * tunnels what is worth the smaller packets that a tunnel takes, and fits into any: TCP.
 */
function wantedFor(
  service: ServiceRecord,
  byDefault: Forwarding,
  protocol: Protocol,
): ServiceRow['forwarding'] {
  const wanted = service.forwarding ?? byDefault;
  if (wanted === 'hybrid') return protocol === 'TCP' ? 'dsr' : 'snat';
  return wanted;
}

/** Whether packets of the service may be tunnelled to other nodes. */
export function wantsTunnels(service: ServiceRecord | undefined, byDefault: Forwarding): boolean {
  return service !== undefined && (service.forwarding ?? byDefault) !== 'snat';
}

/**
 * How packets from outside get to backends of other nodes, and why not as asked for. A tunnel ends
 * where Heddle runs, at a node; it begins at an address that the other nodes know of this one.
 */
export function forwardingOf(
  service: ServiceRecord,
  byDefault: Forwarding,
  { protocol, family }: { readonly protocol: Protocol; readonly family: Family },
  usable: readonly Candidate[],
  nodes: NodeKnowledge,
): { readonly forwarding: ServiceRow['forwarding']; readonly problem?: string } {
  if (wantedFor(service, byDefault, protocol) === 'snat') return { forwarding: 'snat' };
  const instead = (cause: string) =>
    ({ forwarding: 'snat', problem: `forwarding is snat, not dsr: ${cause}` }) as const;
  if (!nodes.isKnownByOthers(family)) {
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
