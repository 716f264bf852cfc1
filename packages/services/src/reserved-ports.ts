import { familyOf, isLoopback, isUnspecified, type SliceRecord } from '@heddle/objects';
import type { Frontend } from './rows.ts';

/** An address and port of TCP that no object may take: the API server's, or one of the agent's own. */
export interface ReservedPort {
  /** Canonical text; empty: all addresses of this node. */
  readonly address: string;
  /** Host order. */
  readonly port: number;
  /** A text that names the holder of the port. */
  readonly holder: string;
}

/** The name of the API server in sentences. */
export const apiServer = 'the API server';

/** True when a slice has the API server's own addresses: Kubernetes fixes the name of its service. */
export function isOfApiServer({ namespace, service }: SliceRecord): boolean {
  return namespace === 'default' && service === 'kubernetes';
}

/** Returns the ports at which the API server is reached, by a slice of its service. */
export function apiServerPorts({ ports, endpoints }: SliceRecord): readonly ReservedPort[] {
  return ports
    .filter(({ protocol }) => protocol === 'TCP')
    .flatMap(({ port }) => endpoints.map(({ address }) => ({ address, port, holder: apiServer })));
}

/**
 * For whom a frontend is reserved, in words; undefined: for nobody. `isOwn` says which addresses the
 * node has. A frontend at the unspecified address is the one of loopback.
 */
export function reservedFor(
  reserved: readonly ReservedPort[],
  { kind, address, port, protocol }: Frontend,
  isOwn: (address: string) => boolean,
): string | undefined {
  // A ClusterIP is given out by the API server, whose own service has one.
  if (kind === 'ClusterIP' || protocol !== 'TCP') return undefined;
  const onLoopback = isUnspecified(address) || isLoopback(address);
  const matches = (place: string) => {
    if (place === '') return onLoopback || isOwn(address);
    if (place === address) return true;
    if (familyOf(place) !== familyOf(address)) return false;
    return isUnspecified(address) && isLoopback(place);
  };
  return reserved.find((each) => each.port === port && matches(each.address))?.holder;
}
