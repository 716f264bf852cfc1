import { familyOf, isLoopback, isUnspecified, type SliceRecord } from '@heddle/objects';
import type { Frontend } from './rows.ts';

/** A TCP address and port that no object may use: the API server's, or one of the agent's own. */
export interface ReservedPort {
  /** The address in canonical text. If empty, the port is reserved on all addresses of this node. */
  readonly address: string;
  /** Host order. */
  readonly port: number;
  /** A text that names the holder of the port. */
  readonly holder: string;
}

/** The name of the API server in messages. */
export const apiServer = 'the API server';

/** Returns true if a slice has the addresses of the API server, whose service always has the same name. */
export function isApiServerSlice({ namespace, service }: SliceRecord): boolean {
  return namespace === 'default' && service === 'kubernetes';
}

/** Returns the API server's addresses and ports in a slice of its service. */
export function apiServerPorts({ ports, endpoints }: SliceRecord): readonly ReservedPort[] {
  return ports
    .filter(({ protocol }) => protocol === 'TCP')
    .flatMap(({ port }) => endpoints.map(({ address }) => ({ address, port, holder: apiServer })));
}

/**
 * Returns the holder for which a frontend is reserved, as text, or undefined. `isOwn` is true for
 * addresses of this node. A frontend at the unspecified address serves loopback.
 */
export function reservedFor(
  reserved: readonly ReservedPort[],
  { kind, address, port, protocol }: Frontend,
  isOwn: (address: string) => boolean,
): string | undefined {
  // The API server assigns ClusterIPs, also one to its own service.
  if (kind === 'ClusterIP' || protocol !== 'TCP') return undefined;
  const onLoopback = isUnspecified(address) || isLoopback(address);
  const matches = (reservedAddress: string) => {
    if (reservedAddress === '') return onLoopback || isOwn(address);
    if (reservedAddress === address) return true;
    if (familyOf(reservedAddress) !== familyOf(address)) return false;
    return isUnspecified(address) && isLoopback(reservedAddress);
  };
  return reserved.find((each) => each.port === port && matches(each.address))?.holder;
}
